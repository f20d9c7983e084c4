"""Managed orders in the running system: fulfilled, out of stock, and with a payment that fails; and the laws hold."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from deploy.demo.payments.provider import LocalProvider
from deploy.run.deployables import program
from deploy.servers.accounts.urls import PAYMENT_PROVIDER
from projectors.processes.fulfilment.process import PAYMENT
from tests import payments
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(180)

FAILED_SHARE = 0.3
PROVIDER = LocalProvider(timedelta(0), timedelta(0), FAILED_SHARE, 0.0, 0)
SETTINGS = {"TIDEMARK_PAYMENT_DELAY_S": "0", "TIDEMARK_PAYMENT_FAILED_SHARE": str(FAILED_SHARE)}


@pytest.fixture(scope="module")
async def provider(system: System) -> AsyncIterator[None]:
    await system.supervisor.start([program(PAYMENT_PROVIDER, system.servers, os.environ | SETTINGS)])
    yield
    await system.supervisor.kill(PAYMENT_PROVIDER)


def order_id(*, paid: bool) -> str:
    """An order whose payment the provider captures, or fails."""
    for number in count():
        chosen = f"o-{uuid4().hex}-{number}"
        if (PROVIDER.answer(payments.requested(PAYMENT + chosen)).failure is None) is paid:
            return chosen
    raise AssertionError


async def stocked(system: System, quantity: int) -> str:
    product_id = f"p-{uuid4().hex}"
    fields = {"product_id": product_id, "name": "Tea", "category": "drinks", "price": 499, "currency": "EUR"}
    await system.bus.accepted("catalog.create-product", fields)
    if quantity:
        await system.bus.accepted("catalog.receive-stock", {"quantity": quantity}, subject=product_id)
    return product_id


async def placed(system: System, chosen: str, *products: str) -> str:
    lines = [{"product_id": product_id, "quantity": 2, "amount": 998} for product_id in products]
    fields = {"order_id": chosen, "customer_id": "c-1", "currency": "EUR", "lines": lines, "fulfilment": "managed"}
    await system.bus.accepted("orders.place-order", fields)
    return chosen


async def stock(system: System, product_id: str, *, available: int, reserved: int, total: int) -> None:
    def holds(product: Any) -> bool:
        figures: list[int] = [product["available"], product["reserved"], product["stock"]]
        return figures == [available, reserved, total]

    await system.visible(f"/products/{product_id}", holds)


@pytest.mark.usefixtures("provider")
async def test_a_managed_order_is_reserved_paid_confirmed_and_consumed_when_it_is_shipped(system: System) -> None:
    tea, cups = await stocked(system, 5), await stocked(system, 9)
    chosen = await placed(system, order_id(paid=True), tea, cups)
    order = await system.visible(f"/orders/{chosen}", lambda found: found["status"] == "confirmed")
    assert (order["fulfilment"], order["paid_at"]) == ("managed", None)
    [payment] = (await system.visible("/payments", lambda found: found["items"], order_id=chosen))["items"]
    assert (payment["status"], payment["amount"], payment["refunded"]) == ("captured", 1996, 0)
    process = await system.visible(f"/processes/{chosen}", lambda found: found["waiting_for"] == ["shipment"])
    assert process["timers"] == []
    await stock(system, tea, available=3, reserved=2, total=5)

    await system.bus.accepted("orders.ship-order", {}, subject=chosen)
    done = await system.visible(f"/processes/{chosen}", lambda found: found["status"] == "done")
    assert done["result"] == "fulfilled"
    assert all(command["outcome"]["accepted"] for command in done["commands"])
    await stock(system, tea, available=3, reserved=0, total=3)
    await stock(system, cups, available=7, reserved=0, total=7)


@pytest.mark.usefixtures("provider")
async def test_an_order_that_is_out_of_stock_is_cancelled_and_what_was_reserved_is_released(system: System) -> None:
    tea, cups = await stocked(system, 5), await stocked(system, 1)
    chosen = await placed(system, order_id(paid=True), tea, cups)
    done = await system.visible(f"/processes/{chosen}", lambda found: found["status"] == "done")
    assert done["result"] == f"cancelled: reserve:{cups}: 1 units are available, 2 are to be reserved"
    order = await system.visible(f"/orders/{chosen}", lambda found: found["status"] == "cancelled")
    assert order["cancellation_reason"].startswith(f"reserve:{cups}")
    await stock(system, tea, available=5, reserved=0, total=5)
    assert (await system.get("/payments", order_id=chosen))["items"] == []


@pytest.mark.usefixtures("provider")
async def test_an_order_whose_payment_fails_is_cancelled(system: System) -> None:
    tea = await stocked(system, 5)
    chosen = await placed(system, order_id(paid=False), tea)
    done = await system.visible(f"/processes/{chosen}", lambda found: found["status"] == "done")
    assert done["result"] == "cancelled: the payment failed: the card was declined"
    await stock(system, tea, available=5, reserved=0, total=5)


@pytest.mark.usefixtures("provider")
async def test_a_confirmed_order_that_its_customer_cancels_is_refunded(system: System) -> None:
    tea = await stocked(system, 5)
    chosen = await placed(system, order_id(paid=True), tea)
    await system.visible(f"/orders/{chosen}", lambda found: found["status"] == "confirmed")
    await system.bus.accepted("orders.cancel-order", {"reason": "changed my mind"}, subject=chosen)
    done = await system.visible(f"/processes/{chosen}", lambda found: found["status"] == "done")
    assert done["result"] == "cancelled: changed my mind"
    payment = await system.get(f"/payments/{PAYMENT}{chosen}")
    assert (payment["status"], payment["refunded"]) == ("captured", payment["amount"])
    await stock(system, tea, available=5, reserved=0, total=5)


async def test_an_order_that_is_not_managed_begins_no_process(system: System) -> None:
    chosen = f"o-{uuid4().hex}"
    lines = [{"product_id": "p-1", "quantity": 2, "amount": 998}]
    fields = {"order_id": chosen, "customer_id": "c-1", "currency": "EUR", "lines": lines}
    await system.bus.accepted("orders.place-order", fields)
    await system.bus.accepted("orders.pay-order", {"amount": 998}, subject=chosen)
    order = await system.visible(f"/orders/{chosen}", lambda found: found["status"] == "paid")
    assert "fulfilment" not in order
    managed = await placed(system, order_id(paid=True), await stocked(system, 5))
    await system.visible(f"/processes/{managed}")
    assert (await system.queries.get(f"/processes/{chosen}")).status_code == 404
