"""Metrics: declared once, named as is usual, and bounded, whatever arrives in a label."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deploy.run.deployables import DEPLOYABLES
from shared.messaging import topology
from shared.observability import families, metrics
from shared.observability.families import FAMILIES, OTHER, REGISTRY, Counter, Gauge, Histogram


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    """What a test declares is gone afterwards."""
    before = list(FAMILIES)
    yield
    for family in FAMILIES[len(before) :]:
        family.forget()
        if family._metric is not None:
            REGISTRY.unregister(family._metric)
    FAMILIES[:] = before


def series(name: str) -> dict[tuple[str, ...], float]:
    found = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    return {tuple(s.labels.values()): s.value for family in found for s in family.samples if s.name == name}


def test_what_comes_after_the_most_combinations_is_one_series() -> None:
    family = Counter("tidemark_test_total", "For a test.", "route", most=3)
    for number in range(50):
        family.add(2, f"/made-up/{number}")
    assert series("tidemark_test_total") == {
        ("/made-up/0",): 2,
        ("/made-up/1",): 2,
        ("/made-up/2",): 2,
        (OTHER,): 94,
    }


def test_a_gauge_that_is_replaced_has_only_what_is_known_now() -> None:
    gauge = Gauge("tidemark_test_rows", "For a test.", "state")
    gauge.replace({("a",): 1.0, ("b",): 2.0})
    gauge.replace({("b",): 3.0})
    assert series("tidemark_test_rows") == {("b",): 3}
    gauge.forget()
    assert series("tidemark_test_rows") == {}


def test_a_gauge_without_labels_is_exposed_only_while_it_is_known() -> None:
    gauge = Gauge("tidemark_test_seconds", "For a test.")
    gauge.begin()
    assert series("tidemark_test_seconds") == {}
    gauge.set(7)
    assert series("tidemark_test_seconds") == {(): 7}
    gauge.forget()
    assert series("tidemark_test_seconds") == {}
    gauge.set(8)
    assert series("tidemark_test_seconds") == {(): 8}


@given(st.lists(st.floats(-5, 100), max_size=60))
def test_observing_many_at_once_is_observing_each(values: list[float]) -> None:
    """prometheus-client's own ``observe`` is what it is compared with."""
    buckets = (0.0, 0.5, 1.0, 10.0)
    ours = families._Counts("ours", "For a test.", registry=None, buckets=buckets)
    theirs = families._Counts("theirs", "For a test.", registry=None, buckets=buckets)
    family = Histogram.__new__(Histogram)
    family.buckets, family.labels, family._children = buckets, (), {(): ours}
    family.observe_all(values)
    for value in values:
        theirs.observe(value)
    for mine, one in zip(ours._child_samples(), theirs._child_samples(), strict=True):
        assert (mine.name, mine.labels) == (one.name, one.labels)
        assert mine.value == pytest.approx(one.value)


@pytest.mark.parametrize("deployable", DEPLOYABLES)
def test_no_deployable_can_have_more_than_2000_series(deployable: str) -> None:
    """Also with the most lanes there may be."""
    assert metrics.LAG.most >= topology.MAX_LANES * 2
    most = sum(family.series for family in FAMILIES if not family.of or deployable in family.of)
    own = 60  # the collectors of prometheus-client
    assert most + own <= metrics.MAX_SERIES


def test_names_and_labels_are_as_is_usual() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names)) > 30
    for family in FAMILIES:
        assert re.fullmatch(r"tidemark_[a-z_]+", family.name), family.name
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.kind != "histogram" or family.name.endswith("_seconds"), family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_minutes", "_kb")), family.name
        assert family.help.endswith("."), family.name
        assert not set(family.labels) & {"stream", "id", "customer", "subject", "key", "event", "actor"}, family.name
        assert set(family.of) <= set(DEPLOYABLES), family.name
