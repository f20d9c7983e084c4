"""The figures that the stores must have, computed directly from the Parquet columns.

This module shares no code with the creation of the commands (``source``), so that an error there shows as a difference. A basket
with a line of quantity ≤ 0 counts in no figure, because the system must refuse it; its products are still in the
catalogue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy.demo.shop.expected_sales import expected_sales
from deploy.demo.shop.figures import BEST_DAYS, REPORT_ROWS, SEARCH_WORDS, TOP_PRODUCTS, Figures

SALES_COLUMNS: Final = [
    "transaction_timestamp",
    "basket_id",
    "household_id",
    "product_id",
    "quantity",
    "sales_value",
    "store_id",
]
TEXT_COLUMNS: Final = ("product_type", "product_category", "department", "brand")


@dataclass(frozen=True, slots=True)
class ExpectedFigures:
    figures: Figures
    refused: int
    """Number of baskets that the system must refuse."""


def expected_figures(folder: Path, orders: int | None = None, words: Sequence[str] = SEARCH_WORDS) -> ExpectedFigures:
    """The figures of the first ``orders`` baskets in time order (None: all), ties by basket id."""
    table = pq.read_table(folder / "transactions.parquet", columns=SALES_COLUMNS)
    selected = _first_baskets(table, orders)
    refused = pc.unique(selected.filter(pc.less_equal(selected["quantity"], 0))["basket_id"])
    sold = selected.filter(pc.invert(pc.is_in(selected["basket_id"], value_set=refused)))
    cents = pc.round(pc.multiply(sold["sales_value"], 100), round_mode="half_to_even").cast(pa.int64())
    sold = sold.append_column("revenue", cents)
    figures = Figures(
        orders=pc.count_distinct(sold["basket_id"]).as_py(),
        items=pc.sum(sold["quantity"]).as_py() or 0,
        revenue=pc.sum(cents).as_py() or 0,
        best_days=_best_days(sold),
        top_by_units=_top(sold, "quantity"),
        top_by_revenue=_top(sold, "revenue"),
        bought_together=_bought_together(sold),
        distinct_customers=pc.count_distinct(sold["household_id"]).as_py(),
        hits=_hits(folder, pc.unique(selected["product_id"]), words),
        **expected_sales(folder, table, sold),
    )
    return ExpectedFigures(figures, len(refused))


def _first_baskets(table: Any, orders: int | None) -> Any:
    if orders is None:
        return table
    begun = table.group_by("basket_id").aggregate([("transaction_timestamp", "min")])
    first = begun.take(
        pc.sort_indices(begun, [("transaction_timestamp_min", "ascending"), ("basket_id", "ascending")])[:orders]
    )
    return table.filter(pc.is_in(table["basket_id"], value_set=first["basket_id"]))


def _best_days(sold: Any) -> tuple[Any, ...]:
    """A basket's day is that of its earliest line."""
    baskets = sold.group_by("basket_id").aggregate([("transaction_timestamp", "min"), ("revenue", "sum")])
    days = pc.floor_temporal(baskets["transaction_timestamp_min"], unit="day").cast(pa.date32())
    totals = pa.table({"day": days, "revenue": baskets["revenue_sum"]}).group_by("day").aggregate([("revenue", "sum")])
    best = totals.sort_by([("revenue_sum", "descending"), ("day", "ascending")]).slice(0, BEST_DAYS)
    return tuple(zip(best["day"].to_pylist(), best["revenue_sum"].to_pylist(), strict=True))


def _top(sold: Any, measure: str) -> tuple[Any, ...]:
    totals = sold.group_by("product_id").aggregate([(measure, "sum")])
    totals = totals.set_column(0, "product_id", totals["product_id"].cast(pa.string()))
    best = totals.sort_by([(f"{measure}_sum", "descending"), ("product_id", "ascending")]).slice(0, TOP_PRODUCTS)
    return tuple(zip(best["product_id"].to_pylist(), best[f"{measure}_sum"].to_pylist(), strict=True))


def _bought_together(sold: Any) -> tuple[Any, ...]:
    best = _top(sold, "quantity")[:1]
    if not best:
        return ()
    product_ids = sold["product_id"].cast(pa.string())
    ours = pc.equal(product_ids, best[0][0])
    together = pc.and_(
        pc.is_in(sold["basket_id"], value_set=pc.unique(sold.filter(ours)["basket_id"])), pc.invert(ours)
    )
    pairs = pa.table({"product_id": product_ids, "basket_id": sold["basket_id"]}).filter(together)
    counted = pairs.group_by("product_id").aggregate([("basket_id", "count_distinct")])
    counted = counted.filter(pc.greater_equal(counted["basket_id_count_distinct"], 2))
    order = [("basket_id_count_distinct", "descending"), ("product_id", "ascending")]
    most = counted.sort_by(order).slice(0, REPORT_ROWS)
    return tuple(zip(most["product_id"].to_pylist(), most["basket_id_count_distinct"].to_pylist(), strict=True))


def _hits(folder: Path, product_ids: Any, words: Sequence[str]) -> dict[str, int]:
    products = pq.read_table(folder / "products.parquet", columns=["product_id", *TEXT_COLUMNS])
    products = products.filter(pc.is_in(products["product_id"], value_set=product_ids))
    kind, category, department, brand = (products[column] for column in TEXT_COLUMNS)
    # The name falls back on the category, and the category on the department.
    category = pc.coalesce(category, department)
    text = pc.binary_join_element_wise(pc.coalesce(kind, ""), pc.coalesce(category, ""), pc.coalesce(brand, ""), " ")
    return {word: pc.sum(_has_word(text, word)).as_py() or 0 for word in words}


def _has_word(text: Any, word: str) -> Any:
    return pc.match_substring_regex(text, rf"(^|[^a-z0-9]){word}([^a-z0-9]|$)", ignore_case=True)
