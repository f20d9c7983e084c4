"""Baskets: the distinct products of each order that is not cancelled and has several."""

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from projectors.models.summary.baskets import BASKETS
from projectors.models.summary.documents import Row
from projectors.models.summary.projection import fold
from projectors.stores.port import Advance
from shared.contracts.orders import Line
from tests import shop

Baskets = dict[str, Row]


def lines(*products: str) -> list[Line]:
    return [Line(product_id=product, quantity=1, amount=1) for product in products]


def folded(*batches: list[Advance]) -> Baskets:
    """The table after these batches."""
    table: Baskets = {}
    for batch in batches:
        for key, row in fold(batch).current["baskets"].items():
            table.pop(key, None)
            if row is not None:
                table[key] = row
    return table


def test_a_product_is_in_a_basket_once_in_the_order_of_ids_whatever_the_lines_are() -> None:
    placed = shop.placed(lines=lines("p-2", "p-1", "p-2", "P-9"))
    assert folded([shop.run("orders/o-1", placed)]) == {"o-1": ("o-1", ["P-9", "p-1", "p-2"])}


def test_an_order_of_one_product_has_no_basket() -> None:
    assert folded([shop.run("orders/o-1", shop.placed(lines=lines("p-1", "p-1")))]) == {}


def test_a_cancelled_order_has_no_basket_in_one_batch_or_in_two() -> None:
    placed = shop.placed()
    at_once = [shop.run("orders/o-1", placed, shop.cancelled(placed))]
    later = [shop.run("orders/o-1", shop.cancelled(placed), expected=1)]
    assert folded(at_once) == folded([shop.run("orders/o-1", placed)], later) == {}


def test_what_happens_to_an_order_otherwise_leaves_its_basket() -> None:
    batch = [shop.run("orders/o-1", shop.paid(), shop.shipped(), shop.delivered(), expected=1)]
    assert not fold(batch).current


@given(st.lists(st.tuples(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8), st.booleans()), max_size=12))
def test_pairs_in_baskets_are_those_of_the_orders_that_are_not_cancelled(orders: list[tuple[list[str], bool]]) -> None:
    advances, expected = [], Counter[tuple[str, str]]()
    for number, (products, is_cancelled) in enumerate(orders):
        placed = shop.placed(f"o-{number}", lines=lines(*products))
        facts = [placed, shop.cancelled(placed)] if is_cancelled else [placed]
        advances.append(shop.run(f"orders/o-{number}", *facts))
        if not is_cancelled:
            expected.update(combinations(sorted(set(products)), 2))
    changes = fold(advances)
    rows = BASKETS.table.rows(changes)
    assert Counter(pair for row in rows for pair in combinations(row["products"], 2)) == expected
