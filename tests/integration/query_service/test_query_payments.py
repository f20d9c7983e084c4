"""Payments, and what is reserved and available of products, written by the projector's own store."""

from typing import Any

import httpx
import pytest

from projectors.models.summary.store import SummaryStore
from projectors.stores.port import Commit
from shared.views.summary import PaymentView, ProductView
from tests import payments
from tests import shop as events
from tests.integration.query_service.test_query_orders import pages

pytestmark = pytest.mark.usefixtures("shop")

IDS = [f"y{number:02}" for number in range(30)]


@pytest.fixture(scope="module")
async def _payments(query_urls: tuple[str, str]) -> None:
    """Thirty payments of ten orders: every third is captured, every third fails, the others are requested."""
    store = SummaryStore(query_urls[0])
    advances = []
    for number, id_ in enumerate(IDS):
        order = {"order_id": f"paid-{number % 10}"}
        facts: list[Any] = [payments.requested(id_, **order)]  # type: ignore[arg-type]
        if number % 3 == 1:
            facts += [payments.captured(id_, **order), payments.refunded(150, payment_id=id_, **order)]  # type: ignore[arg-type]
        elif number % 3 == 2:
            facts.append(payments.failed(id_, **order))
        advances.append(events.run(f"payments/{id_}", *facts))
    stocked = [events.created("tea"), events.received("tea", stock=5)]
    advances.append(events.run("products/tea", *stocked, events.reserved("tea", quantity=2, stock=5, reserved=2)))
    advances.append(events.run("products/cups", events.created("cups"), events.received("cups", stock=7)))
    await store.commit(Commit(advances=advances))
    await store.close()


@pytest.mark.usefixtures("_payments")
async def test_one_payment_is_what_the_events_say(client: httpx.AsyncClient) -> None:
    answer = await client.get("/payments/y04")
    assert answer.headers["etag"].startswith('"3-')
    payment = PaymentView.model_validate_json(answer.content)
    assert (payment.status, payment.amount, payment.refunded, payment.currency) == ("captured", 400, 150, "EUR")
    assert (payment.order_id, payment.captured_at, payment.version) == ("paid-4", events.NOON, 3)
    failed = PaymentView.model_validate_json((await client.get("/payments/y05")).content)
    assert (failed.status, failed.failure_reason, failed.refunded) == ("failed", "card declined", 0)


@pytest.mark.usefixtures("_payments")
@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, IDS),
        ({"status": "captured"}, IDS[1::3]),
        ({"order_id": "paid-4"}, IDS[4::10]),
        ({"order_id": "paid-4", "status": "failed"}, ["y14"]),
        ({"order_id": "unpaid"}, []),
    ],
)
async def test_payments_are_found_by_order_and_status(
    client: httpx.AsyncClient, filters: dict[str, str], wanted: list[str]
) -> None:
    assert [payment["payment_id"] for payment in await pages(client, "/payments", limit=4, **filters)] == wanted


@pytest.mark.usefixtures("_payments")
@pytest.mark.parametrize("path", ["/products/{}", "/products/{}/page"])
async def test_a_product_says_what_is_reserved_and_available_of_its_stock(client: httpx.AsyncClient, path: str) -> None:
    for product_id, stock, reserved in (("tea", 5, 2), ("cups", 7, 0), ("milk", 0, 0)):
        product = ProductView.model_validate_json((await client.get(path.format(product_id))).content)
        assert (product.stock, product.reserved, product.available) == (stock, reserved, stock - reserved)


@pytest.mark.usefixtures("_payments")
async def test_lists_of_products_say_it_too(client: httpx.AsyncClient) -> None:
    found = {each["product_id"]: each for each in await pages(client, "/products", limit=50)}
    assert [found["tea"][name] for name in ("stock", "reserved", "available")] == [5, 2, 3]
    [tea] = [
        each for each in await pages(client, "/products", limit=50, category="Fruit") if each["product_id"] == "tea"
    ]
    assert (tea["reserved"], tea["available"]) == (2, 3)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/payments/none", 404, "payment-not-found"),
        ("/payments?status=perhaps", 400, "invalid-parameter"),
        ("/payments?order_id=a%20b", 400, "invalid-parameter"),
        ("/payments?order=o-1", 400, "invalid-parameter"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
