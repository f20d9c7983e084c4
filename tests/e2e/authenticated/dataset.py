"""One of everything that the services serve, made by commands: at least an object for each path parameter of the documents."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from tests.e2e.authenticated.secured import Secured

VISIBLE_WITHIN_S = 60.0


async def make_dataset(system: Secured, sender: Mapping[str, str]) -> dict[str, list[Any]]:
    """Values of parameters, by place and name (``path.order_id``): what there is. ``sender``: headers of one who may do everything."""
    mark = uuid4().hex[:8]
    user, doctor, patient, booking = f"u-{mark}", f"d-{mark}", f"p-{mark}", f"b-{mark}"
    device, product, customer, order, managed = f"v-{mark}", f"a-{mark}", f"c-{mark}", f"o-{mark}", f"m-{mark}"
    payment, later = f"y-{mark}", f"later-{mark}"
    line = {"product_id": product, "quantity": 1, "amount": 500}
    placed = {"customer_id": customer, "currency": "EUR", "lines": [line]}

    async def send(type_: str, data: dict[str, Any], subject: str | None = None, **more: str) -> str:
        """The command's id."""
        id_ = more.pop("id_", uuid4().hex)
        query = more | ({"subject": subject} if subject else {})
        headers = {**sender, "Idempotency-Key": id_, "Prefer": "wait=20"}
        answer = await system.commands.post(f"/commands/{type_}", params=query, json=data, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return id_

    person = {"name": "Ann Example", "email": f"{mark}@example.org"}
    await send("accounts.create-user", {"user_id": user, "role": "clerk", **person})
    await send("accounts.change-role", {"role": "admin"}, user)
    await send("bookings.register-doctor", {"doctor_id": doctor, "name": "Dr Who", "speciality": "hearts"})
    await send("bookings.register-patient", {"patient_id": patient, **person})
    wanted = {"booking_id": booking, "patient_id": patient, "doctor_id": doctor, "minutes": 15}
    await send("bookings.request-booking", wanted | {"starts_at": "2031-03-03T10:00:00Z"})
    await send("bookings.confirm-booking", {}, booking)
    metric = {"name": "temperature", "unit": "°C", "low": "-5", "high": "30.5"}
    await send("devices.register-device", {"device_id": device, "model": "m-1", "site": "north", "metrics": [metric]})
    reading = {"metric": "temperature", "at": "2026-03-01T10:00:00Z", "value": "31.25"}
    await send("devices.record-telemetry", {"readings": [reading]}, device)
    described = {"name": "Green mug", "category": "mugs", "brand": "Acme", "description": "A mug"}
    await send("catalog.create-product", {"product_id": product, "price": 500, "currency": "EUR", **described})
    await send("catalog.receive-stock", {"quantity": 100}, product)
    await send("catalog.change-price", {"price": 450}, product)
    await send("catalog.add-review", {"review_id": f"r-{mark}", "rating": 4, "text": "Good"}, product)
    await send("customers.register-customer", {"customer_id": customer, "region": "north", **person})
    await send("orders.place-order", {"order_id": order, **placed})
    outcome = await send("orders.pay-order", {"amount": 500}, order)
    await send("orders.place-order", {"order_id": managed, "fulfilment": "managed", **placed})
    await send("payments.request-payment", {"payment_id": payment, "order_id": order, "amount": 500, "currency": "EUR"})
    await send("customers.rename-customer", {"name": "Bea"}, customer, id_=later, notbefore="2099-01-01T00:00:00Z")
    await system.bus.put("summary.0", b"not JSON")
    letter = (await system.letter("summary", body=b"not JSON"))["id"]
    found = {
        "user_id": user,
        "doctor_id": doctor,
        "patient_id": patient,
        "booking_id": booking,
        "device_id": device,
        "product_id": product,
        "customer_id": customer,
        "order_id": order,
        "payment_id": payment,
        "process_id": managed,
    }
    await visible(system, sender, found, letter)
    return {f"path.{name}": [value] for name, value in found.items()} | {
        "path.letter_id": [letter],
        "path.job_id": [1],
        "path.command_id": [outcome, later],
        "path.kind": ["orders", "customers", "products"],
        "path.stream_id": [order, customer, product],
        "query.subject": [user, doctor, patient, booking, device, product, customer, order, managed, payment],
    }


async def visible(system: Secured, reader: Mapping[str, str], ids: Mapping[str, str], letter: int) -> None:
    """Return when the query service has all of these."""
    paths = {f"/{name.removesuffix('_id')}s/{value}" for name, value in ids.items() if name != "process_id"}
    async with asyncio.timeout(VISIBLE_WITHIN_S):
        for path in [*sorted(paths), f"/processes/{ids['process_id']}", f"/dead-letters/{letter}"]:
            while (await system.queries.get(path, headers=dict(reader))).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
