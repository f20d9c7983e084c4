"""The pure projection of the figures: increments, which can be added in any grouping, and the names of products.

Placing an order adds it to its buckets; cancelling subtracts it from the same buckets (by ``placed_at``, which the cancellation
contains) and counts it as cancelled there. Effects form a commutative group, except names (of the catalogue's names the last wins, as
they come from one stream; of the order lines' the greatest, as they come from many streams):

    effects(a + b) == effects(a) + effects(b)        effects([placed, cancelled]) is one ``cancelled`` and nothing else

Region and categories are those that the order recorded when it was placed, which its cancellation repeats.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from projectors.stores.folding import each_event
from projectors.stores.port import Advance, Event
from shared.contracts.catalog import ProductCreated, ProductUpdated
from shared.contracts.orders import OrderCancelled, OrderPlaced
from shared.contracts.values import MAX_AMOUNT
from shared.views.analytics import ALL, METRICS, Dimension, hour_of

Counts = dict[str, int]
"""Increments by member."""
Sales = dict[str, list[int]]
"""Region or category → an increment for each of METRICS."""

_ORDERS, _ITEMS, _REVENUE, _CANCELLED = range(len(METRICS))
_DAY, _MONTH = len("YYYYMMDD"), len("YYYYMM")


def _counts() -> Counts:
    return defaultdict(int)


def _metrics() -> list[int]:
    return [0] * len(METRICS)


def _sales() -> Sales:
    return defaultdict(_metrics)


@dataclass(slots=True)
class Effects:
    """The increments at the finest grain; those of days and months follow from them."""

    buckets: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(_metrics))
    """(currency, hour) → an increment for each of METRICS."""
    units: dict[str, Counts] = field(default_factory=lambda: defaultdict(_counts))
    """day → product → units."""
    sales: dict[tuple[str, str], Counts] = field(default_factory=lambda: defaultdict(_counts))
    """(currency, day) → product → revenue."""
    buyers: dict[str, Counts] = field(default_factory=lambda: defaultdict(_counts))
    """day → customer → orders."""
    sales_by: dict[tuple[Dimension, str, str], Sales] = field(default_factory=lambda: defaultdict(_sales))
    """(dimension, currency, day) → sales."""
    buyers_by: dict[tuple[Dimension, str, str], Counts] = field(default_factory=lambda: defaultdict(_counts))
    """(dimension, currency, month) → "<customer> <region or category>" → orders."""
    names: dict[str, str] = field(default_factory=dict)
    line_names: dict[str, str] = field(default_factory=dict)
    """product → the greatest, by code points, of the names in its order lines."""

    def __add__(self, other: "Effects") -> "Effects":
        total = Effects(names=self.names | other.names, line_names=dict(self.line_names))
        for product, name in other.line_names.items():
            _name(total.line_names, product, name)
        for part in (self, other):
            for bucket, metrics in part.buckets.items():
                total.buckets[bucket] = [a + b for a, b in zip(total.buckets[bucket], metrics, strict=True)]
            for day, counts in part.units.items():
                _add(total.units[day], counts)
            for currency_day, counts in part.sales.items():
                _add(total.sales[currency_day], counts)
            for day, counts in part.buyers.items():
                _add(total.buyers[day], counts)
            for place, sales in part.sales_by.items():
                for value, metrics in sales.items():
                    known = total.sales_by[place]
                    known[value] = [a + b for a, b in zip(known[value], metrics, strict=True)]
            for group, counts in part.buyers_by.items():
                _add(total.buyers_by[group], counts)
        return total

    def without_zeros(self) -> "Effects":
        """The same without counts that are zero. Buckets stay: their day has had an order."""
        return Effects(
            self.buckets,
            {day: _not_zero(counts) for day, counts in self.units.items()},
            {key: _not_zero(counts) for key, counts in self.sales.items()},
            {day: _not_zero(counts) for day, counts in self.buyers.items()},
            {
                place: {value: sums for value, sums in sales.items() if any(sums)}
                for place, sales in self.sales_by.items()
            },
            {group: _not_zero(counts) for group, counts in self.buyers_by.items()},
            self.names,
            self.line_names,
        )


def _not_zero(counts: Counts) -> Counts:
    return {member: increment for member, increment in counts.items() if increment}


def fold(advances: Sequence[Advance]) -> Effects:
    """The effects of all events together. Raises ProjectionError."""
    found = Effects()
    each_event(advances, lambda event: _apply(found, event))
    return found


def effects(events: Iterable[Event]) -> Effects:
    """The effects of all events together."""
    found = Effects()
    for event in events:
        _apply(found, event)
    return found


def _apply(found: Effects, event: Event) -> None:
    match event.data:
        case OrderPlaced() as data:
            _count(found, data, 1)
            for line in data.lines:
                if line.name:
                    _name(found.line_names, line.product_id, line.name)
        case OrderCancelled() as data:
            _count(found, data, -1)
        case ProductCreated() | ProductUpdated() as data:
            found.names[data.product_id] = data.name
        case _:
            pass  # not counted


def _count(found: Effects, order: OrderPlaced | OrderCancelled, sign: Literal[1, -1]) -> None:
    if not (0 <= order.total <= MAX_AMOUNT and 0 <= order.item_count <= MAX_AMOUNT):
        raise ValueError(f"no order is of {order.item_count} units and {order.total} {order.currency}")
    hour = hour_of(order.placed_at)
    day = hour[:_DAY]
    bucket = found.buckets[order.currency, hour]
    bucket[_ORDERS] += sign
    bucket[_ITEMS] += sign * order.item_count
    bucket[_REVENUE] += sign * order.total
    if sign < 0:
        bucket[_CANCELLED] += 1
    found.buyers[day][order.customer_id] += sign
    units, sales = found.units[day], found.sales[order.currency, day]
    categories: dict[str, list[int]] = {}
    for line in order.lines:
        units[line.product_id] += sign * line.quantity
        sales[line.product_id] += sign * line.amount
        sums = categories.setdefault(line.category or "", [0, 0])
        sums[0] += line.quantity
        sums[1] += line.amount
    _count_by(found, order, sign, day, Dimension.REGION, {order.region or "": [order.item_count, order.total]})
    _count_by(found, order, sign, day, Dimension.CATEGORY, categories)


def _count_by(
    found: Effects,
    order: OrderPlaced | OrderCancelled,
    sign: Literal[1, -1],
    day: str,
    dimension: Dimension,
    values: Mapping[str, Sequence[int]],
) -> None:
    """``values``: region or category → the order's items and revenue in it."""
    currency, month = order.currency, day[:_MONTH]
    sales, buyers = found.sales_by[dimension, currency, day], found.buyers_by[dimension, currency, month]
    for value, (items, revenue) in values.items():
        metrics = sales[value]
        metrics[_ORDERS] += sign
        metrics[_ITEMS] += sign * items
        metrics[_REVENUE] += sign * revenue
        if sign < 0:
            metrics[_CANCELLED] += 1
        buyers[f"{order.customer_id} {value}"] += sign


def by_hour(effects: Effects) -> dict[str, Counts]:
    """currency → "<hour>:<metric>" → increment."""
    return _by_time(effects, len("YYYYMMDDHH"))


def by_day(effects: Effects) -> dict[str, Counts]:
    """currency → "<day>:<metric>" → increment."""
    return _by_time(effects, _DAY)


def by_span(days: Mapping[str, Counts]) -> list[tuple[list[str], Counts]]:
    """Counts by day as ([span, …], counts) for days, months and ALL, with spans that have equal counts grouped.

    The orders of a batch are mostly of one day, and then its month and ALL have the same counts.
    """
    months: dict[str, list[str]] = defaultdict(list)
    for day in days:
        months[day[:_MONTH]].append(day)
    groups = {day: ([day], counts) for day, counts in days.items()}
    for span, parts in (*months.items(), (ALL, list(months))):
        if not parts:
            continue
        if len(parts) == 1:
            groups[span] = groups[parts[0]]
            groups[span][0].append(span)
        else:
            groups[span] = ([span], _sum(groups[part][1] for part in parts))
    return list({id(group): group for group in groups.values()}.values())


def sales_by_span(effects: Effects) -> Iterator[tuple[Dimension, str, list[str], Counts]]:
    """(dimension, currency, [day or month, …], "<metric>:<value>" → increment)."""
    days: dict[tuple[Dimension, str], dict[str, Counts]] = defaultdict(dict)
    for (dimension, currency, day), sales in effects.sales_by.items():
        days[dimension, currency][day] = {
            f"{metric}:{value}": increment
            for value, metrics in sales.items()
            for metric, increment in zip(METRICS, metrics, strict=True)
            if increment
        }
    for (dimension, currency), counts_by_day in days.items():
        for spans, counts in by_span(counts_by_day):
            if kept := [span for span in spans if span != ALL]:
                yield dimension, currency, kept, counts


def is_day(span: str) -> bool:
    """Whether it is a day, not a month or ALL."""
    return len(span) == _DAY


def parts_of_totals(days: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Each month with its days, then ALL with the months: each total with its parts, in the order in which to compute them."""
    months: dict[str, list[str]] = defaultdict(list)
    for day in sorted(days):
        months[day[:_MONTH]].append(day)
    return [*months.items(), (ALL, list(months))] if months else []


def _by_time(effects: Effects, digits: int) -> dict[str, Counts]:
    found: dict[str, Counts] = defaultdict(_counts)
    for (currency, hour), metrics in effects.buckets.items():
        counts = found[currency]
        for metric, increment in zip(METRICS, metrics, strict=True):
            if increment:
                counts[f"{hour[:digits]}:{metric}"] += increment
    return found


def _sum(parts: Iterable[Counts]) -> Counts:
    total = _counts()
    for part in parts:
        _add(total, part)
    return total


def _add(total: Counts, part: Counts) -> None:
    for member, increment in part.items():
        total[member] += increment


def _name(names: dict[str, str], product: str, name: str) -> None:
    if name > names.get(product, ""):
        names[product] = name
