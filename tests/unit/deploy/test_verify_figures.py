"""Expected figures are exact, in any order of addition, and beyond 64 bits."""

from collections.abc import Iterator

import pytest

from deploy.verify.figures import Figures, storable
from deploy.verify.spill import open_spill
from projectors.models.analytics.projection import Effects
from shared.views.analytics import ALL, Keys

LAYOUT = Keys("test")
DAY, OTHER_DAY = "20260331", "20260401"
HUGE = 9 * 10**18
"""Twice as much is more than 64 bits."""
SALES = (LAYOUT.sales("EUR", ALL), "p-1")
REVENUE = (LAYOUT.days_in("EUR"), f"{DAY}:revenue")


@pytest.fixture
def figures() -> Iterator[Figures]:
    with open_spill() as spill:
        yield Figures(spill, LAYOUT)


def sold(amount: int, day: str = DAY) -> Effects:
    effects = Effects()
    effects.sales["EUR", day]["p-1"] = amount
    effects.buckets["EUR", f"{day}12"][2] = amount
    return effects


def test_a_counter_is_exact_if_a_partial_sum_is_beyond_64_bits(figures: Figures) -> None:
    for amount in (HUGE, HUGE + 1, -HUGE):
        figures.record(sold(amount))
    figures.finish()
    assert figures.expected(REVENUE) == HUGE + 1
    assert figures.equal(REVENUE, HUGE + 1)
    assert not figures.equal(REVENUE, HUGE)


def test_a_tally_is_exact_beyond_64_bits_and_back(figures: Figures) -> None:
    figures.record(sold(HUGE))
    figures.record(sold(HUGE, OTHER_DAY))
    figures.finish()
    assert figures.equal(SALES, storable(2 * HUGE))
    assert not figures.equal(SALES, storable(2 * HUGE + 1))
    figures.advance(sold(3 * HUGE + 1))
    assert figures.equal(SALES, storable(5 * HUGE + 1))
    figures.advance(sold(-4 * HUGE))
    assert figures.expected(SALES) == HUGE + 1
    figures.load([("p-1", HUGE)])
    assert figures.compare(SALES[0]) == ["p-1"]
    figures.advance(sold(-HUGE - 1))
    assert figures.equal(SALES, None)


def test_one_effect_may_be_beyond_64_bits(figures: Figures) -> None:
    figures.record(sold(4 * HUGE))
    figures.finish()
    assert figures.equal(SALES, storable(4 * HUGE))
    figures.load([("p-1", storable(4 * HUGE))])
    assert figures.compare(SALES[0]) == []
