from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from projectors.models.analytics.projection import (
    Effects,
    by_day,
    by_hour,
    by_span,
    effects,
    fold,
    parts_of_totals,
    sales_by_span,
)
from projectors.stores.port import Event, ProjectionError
from shared.contracts.orders import Line, OrderPlaced
from shared.contracts.values import MAX_AMOUNT, EventData
from shared.views.analytics import Dimension
from tests import shop

lines = st.builds(
    Line,
    product_id=st.sampled_from(["p-1", "p-2", "p-3"]),
    name=st.sampled_from([None, "Banana", "Milk"]),
    quantity=st.integers(1, 9),
    amount=st.integers(0, MAX_AMOUNT // 1000),
    category=st.sampled_from([UNSET, "Fruit", "Dairy"]),
)
orders = st.builds(
    shop.placed,
    st.uuids().map(str),
    customer_id=st.sampled_from(["c-1", "c-2"]),
    currency=st.sampled_from(["EUR", "USD"]),
    lines=st.lists(lines, min_size=1, max_size=4),
    at=st.datetimes(datetime(2026, 1, 30), datetime(2026, 3, 2), timezones=st.just(UTC)),
    region=st.sampled_from([UNSET, "North", "South"]),
)


def events(*placed: OrderPlaced) -> list[Event]:
    return [shop.event(order, f"orders/{order.order_id}") for order in placed]


def figures(found: Effects) -> tuple[object, ...]:
    settled = found.without_zeros()
    return (
        {bucket: metrics for bucket, metrics in settled.buckets.items() if any(metrics)},
        {day: counts for day, counts in settled.units.items() if counts},
        {key: counts for key, counts in settled.sales.items() if counts},
        {day: counts for day, counts in settled.buyers.items() if counts},
        {group: counts for group, counts in settled.buyers_by.items() if counts},
        {place: sales for place, sales in settled.sales_by.items() if sales},
    )


@given(st.lists(orders), st.lists(orders))
def test_effects_of_two_batches_are_the_sum_of_their_effects(
    a: Sequence[OrderPlaced], b: Sequence[OrderPlaced]
) -> None:
    assert effects(events(*a, *b)) == effects(events(*a)) + effects(events(*b))


@given(st.lists(orders))
def test_the_order_in_which_orders_come_does_not_matter(placed: Sequence[OrderPlaced]) -> None:
    assert figures(effects(events(*placed))) == figures(effects(events(*reversed(placed))))


@given(st.lists(orders, min_size=1))
def test_a_cancelled_order_leaves_nothing_but_one_cancelled_in_the_bucket_it_was_placed_in(
    placed: Sequence[OrderPlaced],
) -> None:
    cancelled = [shop.event(shop.cancelled(order), f"orders/{order.order_id}", 2) for order in placed]
    buckets, *products_and_buyers, sales_by = figures(effects([*events(*placed), *cancelled]))
    assert products_and_buyers == [{}, {}, {}, {}]
    assert isinstance(buckets, dict)
    assert isinstance(sales_by, dict)
    groups = [sums for sales in sales_by.values() for sums in sales.values()]
    assert all(metrics[:3] == [0, 0, 0] for metrics in (*buckets.values(), *groups))
    assert sum(metrics[3] for metrics in buckets.values()) == len(placed)
    regions = [sums for place, sales in sales_by.items() if place[0] is Dimension.REGION for sums in sales.values()]
    assert sum(metrics[3] for metrics in regions) == len(placed)


@given(st.lists(orders))
def test_regions_and_categories_come_to_all_items_and_all_revenue_of_their_day(placed: Sequence[OrderPlaced]) -> None:
    found = effects(events(*placed))
    whole = by_day(found)
    for (_, currency, day), sales in found.sales_by.items():
        sums = [sum(metrics) for metrics in zip(*sales.values(), strict=True)]
        assert sums[1:3] == [whole[currency].get(f"{day}:{metric}", 0) for metric in ("items", "revenue")]
    for dimension, currency, spans, counts in sales_by_span(found):
        for span in spans:
            revenue = sum(value for name, value in counts.items() if name.startswith("revenue:"))
            days = [name for name in whole[currency] if name.startswith(span) and name.endswith(":revenue")]
            assert revenue == sum(whole[currency][name] for name in days), (dimension, span)


def test_an_order_counts_once_in_each_category_of_its_lines_and_in_one_region() -> None:
    lines = [shop.line(amount=10, category="Fruit"), shop.line("p-2", amount=5, category="Fruit"), shop.line("p-3")]
    found = effects(events(shop.placed(lines=lines, region="North")))
    groups = {dimension: counts for dimension, _, _, counts in sales_by_span(found)}
    assert groups == {
        "region": {"orders:North": 1, "items:North": 3, "revenue:North": 115},
        "category": {
            **{"orders:Fruit": 1, "items:Fruit": 2, "revenue:Fruit": 15},
            **{"orders:": 1, "items:": 1, "revenue:": 100},
        },
    }
    assert found.buyers_by == {
        ("region", "EUR", "202603"): {"c-1 North": 1},
        ("category", "EUR", "202603"): {"c-1 Fruit": 1, "c-1 ": 1},
    }


@given(st.lists(orders))
def test_each_span_gets_the_sum_of_its_days(placed: Sequence[OrderPlaced]) -> None:
    days = effects(events(*placed)).units
    groups = by_span(days)
    spans = {span: counts for names, counts in groups for span in names}
    assert sum(len(names) for names, _ in groups) == len(spans)
    for span, counts in spans.items():
        within = [of_day for day, of_day in days.items() if span == "all" or day.startswith(span)]
        for product in ("p-1", "p-2", "p-3"):
            assert counts.get(product, 0) == sum(of_day.get(product, 0) for of_day in within)


def test_an_order_is_counted_by_the_hour_and_the_day_it_was_placed_in() -> None:
    found = effects(events(shop.placed(at=datetime(2026, 3, 31, 23, 59, tzinfo=UTC))))
    assert by_hour(found) == {"EUR": {"2026033123:orders": 1, "2026033123:items": 4, "2026033123:revenue": 400}}
    assert by_day(found) == {"EUR": {"20260331:orders": 1, "20260331:items": 4, "20260331:revenue": 400}}


def test_a_batch_of_one_day_says_its_counts_once_for_day_month_and_all() -> None:
    found = effects(events(shop.placed("o-1"), shop.placed("o-2")))
    assert by_span(found.units) == [(["20260331", "202603", "all"], {"p-1": 6, "p-2": 2})]


def test_a_batch_of_no_orders_has_no_spans_to_write() -> None:
    assert by_span(effects([]).units) == []


def test_totals_are_made_of_days_first_and_then_of_each_other() -> None:
    months = [("202602", ["20260227"]), ("202603", ["20260301", "20260331"])]
    assert parts_of_totals(["20260331", "20260227", "20260301"]) == [*months, ("all", ["202602", "202603"])]
    assert parts_of_totals([]) == []


def test_the_catalogue_names_products_and_lines_do_where_it_does_not() -> None:
    found = fold(
        [
            shop.run("orders/o-1", shop.placed()),
            shop.run("products/p-1", shop.created(name="Banana"), shop.updated(name="Red banana")),
        ]
    )
    assert (found.names, found.line_names) == ({"p-1": "Red banana"}, {"p-1": "Banana"})


def test_the_names_that_lines_give_come_to_the_same_in_any_order() -> None:
    named = [
        shop.placed(f"o-{name}", lines=[Line(product_id="p-1", name=name, quantity=1, amount=1)])
        for name in ("Zebra", "apple", "Ähre", "Zebra 2")
    ]
    for order in permutations(named):
        assert effects(events(*order)).line_names == {"p-1": "Ähre"}
        parts = [effects(events(placed)) for placed in order]
        assert sum(parts[1:], parts[0]).line_names == {"p-1": "Ähre"}


@pytest.mark.parametrize("data", [shop.paid(), shop.shipped(), shop.registered(), shop.received(), shop.SomethingNew()])
def test_what_is_not_counted_has_no_effect(data: EventData) -> None:
    assert effects([shop.event(data, "any/1")]) == Effects()


def test_the_event_that_cannot_be_read_is_the_one_that_is_blamed() -> None:
    advance = shop.run("orders/o-1", shop.poison())
    with pytest.raises(ProjectionError) as caught:
        fold([advance])
    assert caught.value.event is advance.events[0]
