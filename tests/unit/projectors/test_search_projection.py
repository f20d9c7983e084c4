import pytest

from projectors.models.search.projection import Changes, fold
from projectors.stores.port import ProjectionError
from shared.contracts.orders import Line
from shared.contracts.values import EventData
from tests import shop


def test_an_order_is_found_by_the_names_of_its_lines_each_once() -> None:
    lines = [
        Line(product_id="p-1", name="Banana", quantity=1, amount=1),
        Line(product_id="p-9", name="Banana", quantity=1, amount=1),
        Line(product_id="p-2", name="Milk", quantity=1, amount=1),
    ]
    row = fold([shop.run("orders/o-1", shop.placed(lines=lines))]).orders.created["o-1"]
    assert row["terms"] == "'o':1A '1':2A 'o1':3A 'c':5C '1':6C 'c1':7C 'banana':9B 'milk':11B"
    assert row["unnamed"] == []


def test_products_of_lines_without_a_name_are_kept_to_be_found_by_their_catalogue_name() -> None:
    lines = [Line(product_id=product, quantity=1, amount=1) for product in ("p-1", "p-2", "p-1")]
    row = fold([shop.run("orders/o-1", shop.placed(lines=lines))]).orders.created["o-1"]
    assert ("'p'" in row["terms"], row["unnamed"]) == (False, ["p-1", "p-2"])


@pytest.mark.parametrize(
    ("later", "status"),
    [
        (shop.paid(), "paid"),
        (shop.shipped(), "shipped"),
        (shop.delivered(), "delivered"),
        (shop.cancelled(shop.placed()), "cancelled"),
    ],
)
def test_what_happens_to_an_order_later_changes_its_status_and_version_only(later: EventData, status: str) -> None:
    rows = fold([shop.run("orders/o-1", later, expected=1)]).orders
    assert rows.created == {}
    assert rows.changed == {"o-1": {"status": status, "version": 2}}


def test_an_order_that_is_placed_and_cancelled_in_one_batch_is_one_new_row() -> None:
    rows = fold([shop.run("orders/o-1", shop.placed(), shop.paid(), shop.cancelled(shop.placed()))]).orders
    assert rows.changed == {}
    assert (rows.created["o-1"]["status"], rows.created["o-1"]["version"]) == ("cancelled", 3)


def test_a_product_follows_its_text_and_price_and_counts_every_event() -> None:
    facts = [shop.created(), shop.updated(name="Red banana"), shop.repriced(price=60), shop.received(), shop.reviewed()]
    row = fold([shop.run("products/p-1", *facts)]).products.created["p-1"]
    assert row == {
        "name": "Red banana",
        "description": None,
        "category": "Fruit",
        "brand": None,
        "price": 60,
        "currency": "EUR",
        "version": 5,
        "terms": "'red':1A 'banana':2A 'fruit':4B",
        "created_at": shop.NOON,
        "available": 5,
        "review_count": 1,
        "rating_average": 4.0,
    }


def test_a_field_that_became_empty_is_told_apart_from_one_that_did_not_change() -> None:
    assert fold([shop.run("products/p-1", shop.updated(), expected=1)]).products.changed["p-1"]["brand"] is None
    assert "brand" not in fold([shop.run("products/p-1", shop.repriced(), expected=1)]).products.changed["p-1"]


def test_a_customer_is_found_by_the_latest_name() -> None:
    rows = fold([shop.run("customers/c-1", shop.registered(), shop.renamed(name="Ada L."), shop.new_email())]).customers
    assert rows.created == {"c-1": {"name": "Ada L.", "version": 3, "terms": "'ada':1D 'l':2D"}}


def test_an_event_that_nobody_searches_for_changes_nothing() -> None:
    assert fold([shop.run("clinics/k-1", shop.SomethingNew())]) == Changes()


def test_the_event_that_cannot_be_read_is_the_one_that_is_blamed() -> None:
    advance = shop.run("orders/o-1", shop.poison())
    with pytest.raises(ProjectionError) as caught:
        fold([advance])
    assert caught.value.event is advance.events[0]
