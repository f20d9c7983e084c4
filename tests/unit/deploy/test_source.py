"""A year of retail data becomes commands without losing a cent or a line, and the truth is found in another way."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from deploy.demo.shop.expected_figures import expected_figures
from deploy.demo.shop.figures import REPORT_ROWS
from deploy.demo.shop.source import RetailYear, cents, product_name, readable, retail_folder
from deploy.errors import SourceError
from deploy.sending.batches import CommandMessage
from shared.contracts.registry import COMMANDS
from shared.messages.envelope import CommandEnvelope

MORNING = datetime(2017, 1, 1, 9, 0, 0)
NOON = datetime(2017, 1, 1, 12, 0, 0)
NEXT_DAY = datetime(2017, 1, 2, 0, 0, 1)

SALES = [
    # household, basket, product, quantity, dollars, time
    (7, 300, 11, 1, 0.29, NOON),
    (8, 100, 12, 2, 1.15, MORNING),
    (7, 300, 12, 3, 1.50, NOON),
    (8, 100, 11, 1, 0.0, MORNING),
    (9, 200, 10, 0, 0.0, NOON),
    (9, 200, 11, 1, 0.31, NOON),
    (7, 400, 9, 3, 2.0, NEXT_DAY),
]
CATALOGUE = [
    (10, "GROCERY", "National", "FLUID MILK PRODUCTS", "SOY/RICE MILK", "1 GAL"),
    (11, "GROCERY", "Private", "CHEESES", "BUTTERMILK", None),
    (12, "PRODUCE", "National", None, None, None),
    (13, "PRODUCE", "National", "NEVER SOLD", "MILK", None),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    household, basket, product, quantity, dollars, time = zip(*SALES, strict=True)
    sales = {
        "household_id": household,
        "basket_id": basket,
        "product_id": product,
        "quantity": quantity,
        "sales_value": dollars,
        "store_id": [30 + number // 100 for number in basket],
        "transaction_timestamp": pa.array(time, pa.timestamp("ns")),
    }
    names = ("product_id", "department", "brand", "product_category", "product_type", "package_size")
    catalogue = dict(zip(names, zip(*CATALOGUE, strict=True), strict=True))
    for name, columns in (("transactions", sales), ("products", catalogue)):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    return tmp_path


def data_of(commands: Iterable[CommandMessage]) -> list[dict[str, Any]]:
    return [json.loads(command.body)["data"] for command in commands]


def test_baskets_come_whole_and_in_the_order_of_time_then_of_their_number(folder: Path) -> None:
    orders = data_of(RetailYear(None, folder).baskets())
    assert [order["order_id"] for order in orders] == ["100", "200", "300", "400"]
    assert orders[2] == {
        "order_id": "300",
        "customer_id": "7",
        "currency": "USD",
        "lines": [
            {"product_id": "11", "name": "Buttermilk", "quantity": 1, "amount": 29},
            {"product_id": "12", "name": "Produce", "quantity": 3, "amount": 150},
        ],
        "placed_at": "2017-01-01T12:00:00Z",
    }


def test_a_basket_with_a_line_of_nothing_is_sent_as_it_is_for_the_contract_to_refuse(folder: Path) -> None:
    order = data_of(RetailYear(None, folder).baskets())[1]
    assert [line["quantity"] for line in order["lines"]] == [0, 1]
    with pytest.raises(ValidationError, match="quantity"):
        COMMANDS["orders.place-order"].model_validate(order)


def test_only_customers_and_products_of_the_selected_baskets_are_sent(folder: Path) -> None:
    year = RetailYear(1, folder)
    assert [c["customer_id"] for c in data_of(year.customers())] == ["8"]
    assert [p["product_id"] for p in data_of(year.products())] == ["11", "12"]
    assert (year.basket_count, year.customer_count, year.product_count) == (1, 1, 2)


def test_a_household_s_region_is_the_store_of_its_first_basket_of_the_year(folder: Path) -> None:
    customers = data_of(RetailYear(None, folder).customers())
    assert [(each["customer_id"], each["region"]) for each in customers] == [
        ("7", "Store 33"),
        ("8", "Store 31"),
        ("9", "Store 32"),
    ]


def test_a_command_is_the_same_in_every_selection(folder: Path) -> None:
    small = {command.id: command.body for command in RetailYear(2, folder).commands()}
    whole = {command.id: command.body for command in RetailYear(None, folder).commands()}
    assert small.items() < whole.items()


def test_a_product_costs_what_one_unit_cost_when_it_was_first_sold(folder: Path) -> None:
    prices = {p["product_id"]: p["price"] for p in data_of(RetailYear(None, folder).products())}
    assert prices == {"9": 67, "10": 0, "11": 29, "12": 58}


def test_a_product_is_named_as_well_as_the_catalogue_allows() -> None:
    assert readable("  COOKIES/CONES ") == "Cookies / Cones"
    assert product_name(1, {"product_type": "APPLE SAUCE", "package_size": "50 OZ"}) == "Apple Sauce, 50 OZ"
    assert product_name(1, {"product_type": None, "product_category": "HOSIERY/SOCKS"}) == "Hosiery / Socks"
    assert product_name(1, {"department": "GROCERY"}) == "Grocery"
    assert product_name(1, {}) == "Product 1"


def test_dollars_become_cents_exactly_or_not_at_all() -> None:
    assert cents(pa.array([0.29, 1.15, 840.0, 0.57])).to_pylist() == [29, 115, 84000, 57]
    with pytest.raises(SourceError, match="whole cents"):
        cents(pa.array([0.285]))


def test_the_truth_leaves_refused_baskets_out_but_not_their_products(folder: Path) -> None:
    found = expected_figures(folder, None, words=("milk", "cheeses", "produce"))
    assert found.refused == 1
    figures = found.figures
    assert (figures.orders, figures.items, figures.revenue, figures.distinct_customers) == (3, 10, 494, 2)
    assert figures.best_days == ((date(2017, 1, 1), 294), (date(2017, 1, 2), 200))
    assert figures.top_by_units == (("12", 5), ("9", 3), ("11", 2))
    assert figures.top_by_revenue == (("12", 265), ("9", 200), ("11", 29))
    assert figures.hits == {"milk": 1, "cheeses": 1, "produce": 1}
    assert figures.best_weeks == ((date(2016, 12, 26), 294), (date(2017, 1, 2), 200))
    assert figures.months == ((date(2017, 1, 1), 494),)
    assert figures.by_region == (("Store 33", 379), ("Store 31", 115))
    assert figures.buyers_by_region == (("Store 33", 1), ("Store 31", 1))
    assert figures.by_category == (("Produce", 265), ("Uncategorised", 200), ("Cheeses", 29))
    assert figures.by_segment == (("new", 494),)
    assert figures.segments == (("returning", 1), ("lapsed", 1))


def test_products_of_equal_units_are_in_the_order_of_their_ids_as_text(folder: Path) -> None:
    assert expected_figures(folder, 1).figures.top_by_units == (("12", 2), ("11", 1))
    table = pq.read_table(folder / "transactions.parquet")
    pq.write_table(table.set_column(3, "quantity", pa.array([5] * len(SALES))), folder / "transactions.parquet")
    assert expected_figures(folder).figures.top_by_units == (("11", 15), ("12", 10), ("10", 5), ("9", 5))


def test_two_ways_through_a_thousand_real_baskets_meet() -> None:
    year, expected = RetailYear(1000), expected_figures(retail_folder(), 1000)
    revenue: dict[str, int] = defaultdict(int)
    units: Counter[str] = Counter()
    refused, customers, accepted = 0, set(), []
    for command in year.baskets():
        envelope = CommandEnvelope.model_validate_json(command.body)
        try:
            order: Any = COMMANDS[envelope.type].model_validate(envelope.data)
        except ValidationError:
            refused += 1
            continue
        customers.add(order.customer_id)
        accepted.append(order)
        for line in order.lines:
            revenue[line.product_id] += line.amount
            units[line.product_id] += line.quantity
    figures = expected.figures
    assert (refused, len(customers)) == (expected.refused, figures.distinct_customers)
    assert (sum(revenue.values()), units.total()) == (figures.revenue, figures.items)
    best = min(units, key=lambda product: (-units[product], product))
    with_best: Counter[str] = Counter()
    for order in accepted:
        products = {line.product_id for line in order.lines}
        with_best.update(products - {best} if best in products else ())
    pairs = sorted(
        ((one, count) for one, count in with_best.items() if count > 1), key=lambda pair: (-pair[1], pair[0])
    )
    assert tuple(pairs[:REPORT_ROWS]) == figures.bought_together
    region_of = {customer["customer_id"]: customer["region"] for customer in data_of(year.customers())}
    by_region: Counter[str] = Counter()
    for order in accepted:
        by_region[region_of[order.customer_id]] += sum(line.amount for line in order.lines)
    in_order = sorted(by_region.items(), key=lambda item: (-item[1], item[0]))
    assert tuple(in_order[:REPORT_ROWS]) == figures.by_region, "all of the first baskets are of January"
    ranked = sorted(revenue.items(), key=lambda item: (-item[1], item[0]))
    assert tuple(ranked[:10]) == figures.top_by_revenue


def test_every_customer_and_product_of_the_real_data_keeps_its_contract() -> None:
    year = RetailYear(1000)
    for command in [*year.customers(), *year.products()]:
        envelope = CommandEnvelope.model_validate_json(command.body)
        COMMANDS[envelope.type].model_validate(envelope.data)
