"""Two hundred persons, and what each of them goes through: commands that are accepted, rejected in every way, scheduled, dead."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from shared.messaging import topology
from tests.canary import MARK, Canaries, address_of, text_of
from tests.e2e.bus import encode, envelope
from tests.e2e.system import System

EACH: Final = 50
"""Persons of each kind."""
KINDS: Final = ("customers", "users", "patients", "doctors")
SUBJECTS: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in range(EACH))
POISONED: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in (3, 4))
"""Whose events the summary cannot apply."""
DISLIKED: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in (5, 6))
"""Whose rows the summary's database refuses, with an error that quotes them."""
BROKEN: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in (7, 8))
"""Whose second command the write database refuses: a dead command."""
AT_ONCE: Final = 25


class Sender:
    """Sends commands, and has the canaries know of them."""

    def __init__(self, system: System, canaries: Canaries) -> None:
        self._system = system
        self._canaries = canaries

    async def command(self, name: str, data: dict[str, Any], subject: str | None = None, **more: Any) -> dict[str, Any]:
        self._canaries.sent(name, data, subject)
        attributes = more if subject is None else {"subject": subject, **more}
        return await self._system.bus.command(name, data, **attributes)

    async def accepted(self, name: str, data: dict[str, Any], subject: str | None = None) -> None:
        found = await self.command(name, data, subject)
        assert found["type"] == "command.accepted", found

    async def rejected(
        self, code: str, name: str, data: dict[str, Any], subject: str | None = None, **more: Any
    ) -> None:
        found = await self.command(name, data, subject, **more)
        assert found.get("code") == code, found
        assert MARK not in str(found["errors"]), "quoted"

    async def over_http(self, name: str, data: dict[str, Any], subject: str) -> int:
        self._canaries.sent(name, data, subject)
        answer = await self._system.commands.post(f"/commands/{name}", params={"subject": subject}, json=data)
        return answer.status_code

    async def lost(self, name: str, data: dict[str, Any], subject: str) -> None:
        """Without an id: a dead letter."""
        self._canaries.sent(name, data, subject)
        body = {"type": name, "subject": subject, "source": "tests", "data": data}
        await self._system.bus.put(topology.COMMAND_QUEUE, json.dumps(body).encode())

    async def not_awaited(self, name: str, data: dict[str, Any], subject: str) -> None:
        self._canaries.sent(name, data, subject)
        await self._system.bus.send(encode(envelope(name, data, subject=subject)), routing_key=name)


REGISTER: Final = {
    "customers": ("customers.register-customer", "customer_id", {}),
    "users": ("accounts.create-user", "user_id", {"role": "clerk"}),
    "patients": ("bookings.register-patient", "patient_id", {}),
    "doctors": ("bookings.register-doctor", "doctor_id", {"speciality": "Skin"}),
}
RENAME: Final = {
    "customers": "customers.rename-customer",
    "users": "accounts.rename-user",
    "patients": "bookings.rename-patient",
    "doctors": "bookings.rename-doctor",
}
CHANGE_EMAIL: Final = {"customers": "customers.change-email", "users": "accounts.change-email"}
EXISTS: Final = {
    "customers": "customer-already-registered",
    "users": "user-already-exists",
    "patients": "patient-already-registered",
    "doctors": "doctor-already-registered",
}


async def live(sender: Sender, person: str) -> None:
    """All that a person goes through: accepted, rejected in every way, scheduled, dead."""
    kind, _, own_id = person.partition("/")
    register, key, more = REGISTER[kind]
    new = {key: own_id, "name": text_of(person, "name"), **more}
    if kind != "doctors":
        new["email"] = address_of(person, "email")
    await sender.accepted(register, new)
    if person in BROKEN:
        await sender.not_awaited(RENAME[kind], {"name": text_of(person, "broken")}, own_id)
        return
    await sender.accepted(RENAME[kind], {"name": text_of(person, "renamed")}, own_id)
    if change := CHANGE_EMAIL.get(kind):
        await sender.accepted(change, {"email": address_of(person, "changed")}, own_id)
        await sender.rejected("validation-failed", change, {"email": text_of(person, "no address")}, own_id)
    if kind == "customers":
        review = {"review_id": f"r-{own_id}", "rating": 5, "text": text_of(person, "review"), "customer_id": own_id}
        await sender.accepted("catalog.add-review", review, "t-1")
        line = {"product_id": "t-1", "quantity": 1, "amount": 499}
        order = {"order_id": f"o-{own_id}", "customer_id": own_id, "currency": "EUR", "lines": [line]}
        await sender.accepted("orders.place-order", order)
    await sender.rejected(EXISTS[kind], register, {**new, "name": text_of(person, "again")})
    await sender.rejected(
        "version-conflict", RENAME[kind], {"name": text_of(person, "conflict")}, own_id, expectedversion=99
    )
    wrong = {"name": text_of(person, "wrong"), "unknown": text_of(person, "field")}
    await sender.rejected("validation-failed", RENAME[kind], wrong, own_id)
    assert await sender.over_http(RENAME[kind], {"name": text_of(person, "by HTTP")}, own_id) == 202
    assert await sender.over_http(RENAME[kind], wrong, own_id) == 422
    later = await sender.command(
        RENAME[kind], {"name": text_of(person, "later")}, own_id, notbefore="2090-01-01T00:00:00Z"
    )
    assert later["reason"] == "scheduled"
    await sender.lost(RENAME[kind], {"name": text_of(person, "lost")}, own_id)


async def in_groups(work: Callable[[str], Awaitable[None]]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(person: str) -> None:
        async with limit:
            await work(person)

    async with asyncio.TaskGroup() as group:
        for person in SUBJECTS:
            group.create_task(one(person))
