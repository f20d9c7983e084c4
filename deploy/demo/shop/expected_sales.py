"""Sales over time, by region, category and segment, computed directly from the Parquet columns; without any code of ``source``."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy.demo.shop.figures import BEST_DAYS, REPORT_ROWS, middle

Ranked = tuple[tuple[Any, int], ...]
_TIME: Final = "transaction_timestamp"


class _Basket(NamedTuple):
    """``day``: that of its earliest line; ``revenue`` in cents."""

    number: int
    household: int
    day: date
    revenue: int


def expected_sales(folder: Path, year: Any, sold: Any) -> dict[str, Ranked]:
    """Fields of ``Figures``. ``year``: all lines; ``sold``: those of the baskets that count, with ``revenue`` in cents."""
    grouped = sold.group_by(["basket_id", "household_id"]).aggregate([(_TIME, "min"), ("revenue", "sum")])
    columns = [grouped[name].to_pylist() for name in ("basket_id", "household_id", f"{_TIME}_min", "revenue_sum")]
    baskets = [_Basket(number, who, at.date(), cents) for number, who, at, cents in zip(*columns, strict=True)]
    if not baskets:
        return {}
    last = max(basket.day for basket in baskets)
    in_month = [basket for basket in baskets if (basket.day.year, basket.day.month) == (last.year, last.month)]
    store_of = _first_stores(year)
    by_region = _ranked(_sums((f"Store {store_of[basket.household]}", basket.revenue) for basket in in_month))
    customers = defaultdict(set)
    for basket in in_month:
        customers[f"Store {store_of[basket.household]}"].add(basket.household)
    half = middle(min(basket.day for basket in baskets), last)
    segment = _segments(baskets, last.replace(day=1), date.max)
    return {
        "best_weeks": _best(_by(baskets, lambda day: day - timedelta(days=day.weekday()))),
        "months": tuple(sorted(_by(baskets, lambda day: day.replace(day=1)).items())),
        "by_region": by_region,
        "buyers_by_region": tuple((region, len(customers[region])) for region, _ in by_region),
        "by_category": _by_category(folder, sold, {basket.number for basket in in_month}),
        "by_segment": _in_order(_sums((segment[basket.household], basket.revenue) for basket in in_month)),
        "segments": _in_order(_sums((name, 1) for name in _segments(baskets, half, date.max).values())),
    }


def _first_stores(year: Any) -> dict[int, int]:
    """Household → the store of its first basket of the year; of baskets at the same time, of the one with the lowest number."""
    grouped = year.group_by(["household_id", "basket_id", "store_id"]).aggregate([(_TIME, "min")])
    columns = [grouped[name].to_pylist() for name in ("household_id", f"{_TIME}_min", "basket_id", "store_id")]
    found: dict[int, tuple[Any, ...]] = {}
    for household, *place in zip(*columns, strict=True):
        found[household] = min(tuple(place), found.get(household, tuple(place)))
    return {household: place[-1] for household, place in found.items()}


def _segments(baskets: Iterable[_Basket], start: date, end: date) -> dict[int, str]:
    """Household → new, returning or lapsed in [start, end)."""
    before = {basket.household for basket in baskets if basket.day < start}
    here = {basket.household for basket in baskets if start <= basket.day < end}
    return {who: "lapsed" if who not in here else "returning" if who in before else "new" for who in before | here}


def _by_category(folder: Path, sold: Any, baskets: set[int]) -> Ranked:
    products = pq.read_table(folder / "products.parquet", columns=["product_id", "product_category", "department"])
    names = pc.coalesce(products["product_category"], products["department"]).to_pylist()
    category_of = dict(zip(products["product_id"].to_pylist(), names, strict=True))
    totals = sold.group_by(["basket_id", "product_id"]).aggregate([("revenue", "sum")])
    columns = [totals[name].to_pylist() for name in ("basket_id", "product_id", "revenue_sum")]
    return _ranked(
        _sums(
            (_spoken(category_of.get(product)), cents)
            for basket, product, cents in zip(*columns, strict=True)
            if basket in baskets
        )
    )


def _spoken(category: str | None) -> str:
    """In title case, with a space on both sides of each slash."""
    words = [" ".join(part.split()) for part in (category or "Uncategorised").title().split("/")]
    return " / ".join(words).strip()


def _by(baskets: Iterable[_Basket], start_of: Callable[[date], date]) -> dict[date, int]:
    return _sums((start_of(basket.day), basket.revenue) for basket in baskets)


def _sums(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    sums: dict[Any, int] = defaultdict(int)
    for key, number in pairs:
        sums[key] += number
    return sums


def _best(sums: Mapping[date, int]) -> Ranked:
    return tuple(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))[:BEST_DAYS])


def _ranked(sums: Mapping[str, int]) -> Ranked:
    return tuple(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))[:REPORT_ROWS])


def _in_order(sums: Mapping[str, int]) -> Ranked:
    return tuple((name, sums[name]) for name in ("new", "returning", "lapsed") if sums.get(name))
