"""What telemetry makes of a device's events, and what its readings add up to, whatever the order in which they come."""

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from projectors.models.telemetry.projection import fold
from projectors.models.telemetry.rollups import Rollups
from projectors.models.telemetry.tables import RETENTION, TABLES
from projectors.stores.port import ProjectionError
from tests import devices, shop
from tests.devices import NOON, Reading

READINGS: st.SearchStrategy[list[Reading]] = st.lists(
    st.tuples(
        st.sampled_from(["temp", "wind"]),
        st.integers(0, 200).map(lambda n: NOON + timedelta(minutes=17 * n)),
        st.decimals(-40, 40, places=3).map(lambda value: format(value, "f")),
    ),
    max_size=40,
    unique_by=lambda reading: reading[:2],
)


def rollups(readings: Sequence[Reading], cut: int = 10**6) -> Rollups:
    events = [devices.recorded(*readings[at : at + cut]) for at in range(0, len(readings), cut)]
    return fold([shop.run("devices/d-1", devices.registered(), *events)]).rollups()


def without_versions(found: Rollups) -> Rollups:
    """Which event a reading came in depends on the order."""
    for kept in found.readings.values():
        kept.version = 0
    for bucket in (*found.hours.values(), *found.days.values()):
        bucket.version_sum = 0
    return found


@given(READINGS, st.randoms(use_true_random=False), st.integers(1, 9))
def test_no_order_and_no_cut_changes_hours_days_latest_values_or_alerts(
    readings: list[Reading], rng: random.Random, cut: int
) -> None:
    expected = without_versions(rollups(readings))
    shuffled = readings + readings[::3]
    rng.shuffle(shuffled)
    found = without_versions(rollups(shuffled, cut))
    assert sum(day.duplicates for day in found.days.values()) == len(readings[::3])
    for day in found.days.values():
        day.duplicates = 0
    assert found == expected
    total = sum((Decimal(value) for _, _, value in readings), Decimal())
    assert sum((hour.sum for hour in found.hours.values()), Decimal()) == total


def test_the_first_reading_of_a_time_stays_and_others_are_counted() -> None:
    [day] = rollups([("temp", NOON, "1"), ("temp", NOON, "1.0"), ("temp", NOON, "2")]).days.values()
    assert (day.count, day.last, day.duplicates, day.conflicting) == (1, Decimal(1), 1, 1)


def test_a_reading_is_judged_by_the_limits_it_was_recorded_with() -> None:
    found = fold([shop.run("devices/d-1", devices.recorded(("temp", NOON, "30.5"), ("temp", NOON, "30.500001")))])
    assert found.readings.side == [0, 1]
    assert found.readings.known_versions() == [0, 0]


def test_a_device_has_its_latest_description_and_count() -> None:
    facts = (
        devices.registered(),
        devices.recorded(("temp", NOON, "1"), total=7),
        devices.configured(),
        devices.retired(),
    )
    [row] = fold([shop.run("devices/d-1", *facts)]).devices.created.values()
    assert (row["model"], row["site"], row["status"], row["readings"], row["version"]) == (
        "m-2",
        "south",
        "retired",
        7,
        4,
    )
    assert row["metrics"] == [{"name": "temp", "unit": "°C", "low": "-10", "high": "30.5"}]


def test_of_readings_before_the_horizon_nothing_is_expected() -> None:
    changes = fold([shop.run("devices/d-1", devices.registered(), devices.recorded(("temp", NOON, "1")))])
    assert RETENTION.keep(changes, NOON).rollups() == changes.rollups()
    later = RETENTION.keep(changes, NOON + timedelta(seconds=1))
    assert {table.name: len(table.rows(later)) for table in TABLES} == {
        **{"devices": 1, "readings": 0, "hours": 0, "days": 0, "series": 0}
    }


def test_times_without_values_are_an_error_of_their_event() -> None:
    event = devices.recorded(("temp", NOON, "1"))
    broken = replace(event, series=(replace(event.series[0], value=()),))
    with pytest.raises(ProjectionError) as failed:
        fold([shop.run("devices/d-1", devices.registered(), broken)])
    assert failed.value.event.version == 2
