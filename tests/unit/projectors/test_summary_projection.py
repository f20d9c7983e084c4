from datetime import timedelta
from typing import TypeVar

import msgspec
import pytest
from pydantic import BaseModel
from pydantic_core import from_json

from projectors.models.summary.documents import Changes
from projectors.models.summary.projection import RULES, evolve, fold
from projectors.stores.folding import Fields
from projectors.stores.port import ProjectionError
from shared.contracts.registry import EVENTS, KINDS_OF
from shared.contracts.values import EventData
from shared.read_models import ERASURES, named
from shared.views.accounts import UserView
from shared.views.summary import CustomerView, OrderDocument, PaymentView, ProductDocument
from tests import payments, shop, users

View = TypeVar("View", bound=BaseModel)


def document(stream: str, *facts: EventData) -> Fields:
    folded: Fields = {}
    for version, data in enumerate(facts, 1):
        folded = evolve(folded, shop.event(data, stream, version))
    return folded


def seen_as(view: type[View], fields: Fields) -> View:
    return view.model_validate_json(msgspec.json.encode(fields))


def test_every_event_that_is_written_today_has_a_rule() -> None:
    kinds = set(named("summary").kinds) - {ERASURES}
    assert RULES.keys() == {cls for cls in EVENTS if kinds & set(KINDS_OF[cls])}


@pytest.mark.parametrize(
    ("view", "first"),
    [
        (OrderDocument, shop.placed(region="North", fulfilment="managed", lines=[shop.line(category="Fruit")])),
        (ProductDocument, shop.created()),
        (PaymentView, payments.requested()),
        (CustomerView, shop.registered(region="North")),
        (UserView, users.created()),
    ],
)
def test_a_new_document_has_every_field_of_its_view(view: type[BaseModel], first: EventData) -> None:
    fields = document("any/1", first)
    assert fields.keys() == view.model_fields.keys()
    assert msgspec.json.encode(seen_as(view, fields).model_dump()) == msgspec.json.encode(
        {name: fields[name] for name in view.model_fields}
    )


def test_an_order_that_went_all_the_way_tells_when_and_how() -> None:
    later = shop.NOON + timedelta(days=2)
    order = seen_as(
        OrderDocument,
        document("orders/o-1", shop.placed(), shop.paid(), shop.shipped(), shop.delivered(at=later)),
    )
    assert (order.status, order.version, order.updated_at) == ("delivered", 4, later)
    assert (order.paid_at, order.paid_amount) == (shop.NOON, 400)
    assert (order.shipped_at, order.carrier, order.tracking) == (shop.NOON, "DHL", "T1")
    assert (order.delivered_at, order.placed_at, order.total, order.item_count) == (later, shop.NOON, 400, 4)


def test_a_cancelled_order_keeps_its_lines_and_says_why() -> None:
    order = seen_as(OrderDocument, document("orders/o-1", shop.placed(), shop.cancelled(shop.placed(), reason="late")))
    assert (order.status, order.cancellation_reason, len(order.lines)) == ("cancelled", "late", 2)


def test_a_product_follows_its_price_text_stock_and_reviews() -> None:
    product = seen_as(
        ProductDocument,
        document(
            "products/p-1",
            shop.created(),
            shop.repriced(price=60),
            shop.updated(name="Red banana"),
            shop.received(stock=7),
            shop.reviewed(rating=5, count=3, total=11),
        ),
    )
    assert (product.price, product.name, product.description, product.brand) == (60, "Red banana", None, None)
    assert (product.stock, product.rating_average, product.review_count, product.version) == (7, 3.67, 3, 5)
    assert [variant.sku for variant in product.variants] == ["p-1-s"]


def test_a_product_follows_its_reservations_and_says_nothing_of_them_before_the_first() -> None:
    before = [shop.created(), shop.received(stock=5)]
    assert "reserved" not in document("products/p-1", *before)
    then = [*before, shop.reserved(reserved=2), shop.released(reserved=1)]
    assert [document("products/p-1", *then)[name] for name in ("stock", "reserved")] == [5, 1]
    then.append(shop.consumed(stock=4, reserved=0))
    assert [document("products/p-1", *then)[name] for name in ("stock", "reserved", "version")] == [4, 0, 5]


def test_a_managed_order_says_so_and_when_it_was_confirmed() -> None:
    events = [shop.placed(fulfilment="managed"), shop.confirmed(), shop.shipped(fulfilment="managed")]
    order = seen_as(OrderDocument, document("orders/o-1", *events))
    assert (order.fulfilment, order.status, order.confirmed_at, order.paid_at) == (
        "managed",
        "shipped",
        shop.NOON,
        None,
    )
    assert {"fulfilment", "confirmed_at"}.isdisjoint(document("orders/o-1", shop.placed(), shop.paid()))


def test_a_payment_follows_its_capture_and_refunds_or_says_why_it_failed() -> None:
    facts = [payments.requested(), payments.captured(), payments.refunded(150), payments.refunded(250, refunded=400)]
    payment = seen_as(PaymentView, document("payments/y-1", *facts))
    assert (payment.status, payment.amount, payment.refunded, payment.version) == ("captured", 400, 400, 4)
    failed = seen_as(PaymentView, document("payments/y-1", payments.requested(), payments.failed()))
    assert (failed.status, failed.failure_reason, failed.captured_at) == ("failed", "card declined", None)


def test_a_customer_follows_name_and_email() -> None:
    customer = seen_as(CustomerView, document("customers/c-1", shop.registered(), shop.renamed(), shop.new_email()))
    assert (customer.name, customer.email, customer.version) == ("Ada L.", "ada@example.org", 3)


def test_a_batch_gives_the_same_document_whether_events_come_together_or_one_after_the_other() -> None:
    facts = [shop.placed(), shop.paid(), shop.cancelled(shop.placed())]
    together = fold([shop.run("orders/o-1", *facts)]).documents["orders"].created["o-1"]
    first = fold([shop.run("orders/o-1", facts[0])]).documents["orders"].created["o-1"]
    rest = fold([shop.run("orders/o-1", *facts[1:], expected=1)]).documents["orders"].changed["o-1"]
    assert together == {**first, **rest} == document("orders/o-1", *facts)


def test_later_events_change_only_what_they_speak_of() -> None:
    rows = fold([shop.run("orders/o-1", shop.shipped(), expected=2)]).documents["orders"]
    assert rows.created == {}
    assert rows.changed["o-1"].keys() == {"status", "shipped_at", "carrier", "tracking", "updated_at", "version"}


def test_every_event_is_history_at_the_business_time_even_one_that_nobody_knows() -> None:
    early = shop.NOON - timedelta(days=400)
    changes = fold(
        [
            shop.run("orders/o-1", shop.placed(at=early), shop.paid(at=early)),
            shop.run("products/p-1", shop.created()),
            shop.run("clinics/k-1", shop.SomethingNew()),
        ]
    )
    assert [(stream, version, at) for stream, version, _, at, _, _ in changes.appended["history"]] == [
        ("orders/o-1", 1, early),
        ("orders/o-1", 2, early),
        ("products/p-1", 1, shop.NOON),
        ("clinics/k-1", 1, shop.NOON),
    ]
    assert changes.appended["history"][1][2] == "orders.order-paid"
    assert from_json(msgspec.json.encode(changes.appended["history"][3][5])) == {"note": "new"}


def test_price_history_begins_with_the_creation_and_has_every_change() -> None:
    changes = fold([shop.run("products/p-1", shop.created(price=50), shop.received(), shop.repriced(price=60))])
    assert [(version, price) for _, version, price, _, _ in changes.appended["price_history"]] == [(1, 50), (3, 60)]


def test_the_event_that_cannot_be_read_is_the_one_that_is_blamed() -> None:
    advance = shop.run("orders/o-2", shop.poison("o-2"))
    with pytest.raises(ProjectionError) as caught:
        fold([shop.run("orders/o-1", shop.placed()), advance])
    assert caught.value.event is advance.events[0]
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_change_to_a_row_that_is_not_there_is_blamed_on_its_first_event() -> None:
    advance = shop.run("orders/o-1", shop.paid(), shop.shipped(), expected=1)
    changes: Changes = fold([advance])
    changes.documents["orders"].require(["o-1"])
    with pytest.raises(ProjectionError) as caught:
        changes.documents["orders"].require([])
    assert caught.value.event is advance.events[0]


def test_a_document_has_no_field_for_a_fact_that_its_event_did_not_know() -> None:
    """So documents that older code has made of older events stay equal to what is made of them today."""
    assert "region" not in document("orders/o-1", shop.placed())
    assert "region" not in document("customers/c-1", shop.registered())
    assert document("customers/c-1", shop.registered(), shop.moved(region="West"))["region"] == "West"
