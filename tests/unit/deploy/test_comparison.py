"""The report says equal only where everything is, shows what it cannot compare as such, and is the same in JSON."""

import json
from dataclasses import replace
from datetime import date

import pytest
from rich.console import Console

from deploy.demo.comparison import ComparedFigure
from deploy.demo.shop.comparison import compare
from deploy.demo.shop.figures import FIGURE_NAMES, Figures
from deploy.demo.shop.report import Report, show
from deploy.run.resource_usage import ResourceUsage

SOURCE = Figures(
    orders=2,
    items=5,
    revenue=1234,
    best_days=((date(2017, 1, 1), 1000), (date(2017, 1, 2), 234)),
    top_by_units=(("1", 3), ("2", 2)),
    top_by_revenue=(("2", 1000), ("1", 234)),
    bought_together=(("2", 3),),
    distinct_customers=2,
    best_weeks=((date(2016, 12, 26), 1000), (date(2017, 1, 2), 234)),
    months=((date(2017, 1, 1), 1234),),
    by_region=(("Store 1", 1234),),
    buyers_by_region=(("Store 1", 2),),
    by_category=(("Beef", 1000), ("Cheese", 234)),
    by_segment=(("new", 1234),),
    segments=(("new", 2),),
    hits={"milk": 1},
)
ANALYTICS = replace(SOURCE, hits={})
SEARCH = replace(SOURCE, top_by_units=None, top_by_revenue=None)


def report(**changes: object) -> Report:
    stores = {"summary": SOURCE, "analytics": ANALYTICS, "search": SEARCH}
    plain = Report(
        sent=10,
        resent=0,
        accepted=9,
        rejected={"validation-failed": 1},
        examples={"validation-failed": "quantity [must] be positive"},
        refused_by_source=1,
        baskets=3,
        seconds=0.5,
        lag_seconds={"summary": 0.01, "analytics": 0.02, "search": 0.03},
        outcome_seconds={"p50": 0.1, "p99": None},
        freshness=[{"projection": "summary", "lag_seconds": 0.5, "events_applied": 9}, {"projection": "search"}],
        lines=compare(SOURCE, stores),
        costs={"worker": ResourceUsage(90.5, 1.25)},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def shown(given: Report) -> str:
    console = Console(width=160, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        show(given, console)
    return capture.get()


def test_every_figure_is_a_line_and_every_word_too() -> None:
    lines = compare(SOURCE, {"summary": SOURCE})
    assert [line.name for line in lines] == [*FIGURE_NAMES.values(), "products with “milk”"]
    assert all(line.equal for line in lines)


def test_a_store_without_a_figure_is_not_held_against_it() -> None:
    lines = {line.name: line for line in compare(SOURCE, {"analytics": ANALYTICS, "search": SEARCH})}
    assert set(lines["top 10 products by units"].stores) == {"analytics"}
    assert set(lines["products with “milk”"].stores) == {"search"}


@pytest.mark.parametrize(
    "wrong",
    [
        replace(SOURCE, revenue=1235),
        replace(SOURCE, top_by_units=(("2", 3), ("1", 2))),
        replace(SOURCE, best_days=()),
        replace(SOURCE, hits={"milk": 0}),
    ],
)
def test_one_difference_anywhere_is_not_equal(wrong: Figures) -> None:
    different = report(lines=compare(SOURCE, {"summary": SOURCE, "analytics": wrong}))
    assert not different.equal
    assert "NOT EQUAL" in shown(different)


def test_refusing_another_number_of_baskets_is_not_equal() -> None:
    assert report().equal
    assert not report(rejected={}).equal
    assert not report(rejected={"validation-failed": 1, "version-conflict": 1}).equal
    assert report(rejected={}, refused_by_source=0).equal


def test_stores_that_hold_more_are_said_to_be_not_comparable_instead_of_different() -> None:
    others = report(
        streams_of_others={"summary": 3, "analytics": 3, "search": 0},
        lines=[ComparedFigure("orders", 2, {"summary": 5})],
    )
    assert others.equal
    assert not others.comparable
    text = " ".join(shown(others).split())
    assert "3 in summary, 3 in analytics" in text
    assert "NOT EQUAL" not in text


def test_the_tables_name_amounts_codes_and_costs() -> None:
    text = shown(report(decided_before=4))
    for part in (
        "12.34",
        "–",
        "the same 2",
        "quantity [must] be positive",
        "90.5",
        "6 end to end",
        "answered the same",
    ):
        assert part in text


def test_the_json_says_the_same() -> None:
    document = json.loads(json.dumps(report().as_json()))
    assert document["equal"] is True
    assert document["commands"]["rejected"]["validation-failed"]["count"] == 1
    [revenue] = [figure for figure in document["figures"] if figure["name"] == "revenue"]
    assert revenue == {
        "name": "revenue",
        "source": 1234,
        "summary": 1234,
        "analytics": 1234,
        "search": 1234,
        "verdict": "equal",
    }
    [best] = [figure for figure in document["figures"] if "days" in figure["name"]]
    assert best["source"] == [["2017-01-01", 1000], ["2017-01-02", 234]]
