"""A reading counts once, sums are exact, and what the tables have does not depend on the order of arrival."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from projectors.models.telemetry.options import TelemetryOptions
from projectors.stores.port import Commit
from tests import devices, shop
from tests.devices import NOON, Reading
from tests.integration.telemetry.conftest import Telemetry

SECONDS = timedelta(seconds=1)


def some_readings(seed: int, count: int = 600) -> list[Reading]:
    """Readings over three months, some twice, some in conflict with others."""
    rng = random.Random(seed)
    start = datetime(2026, 1, 30, tzinfo=UTC)
    found: list[Reading] = []
    for _ in range(count):
        kind = rng.random()
        if found and kind < 0.1:
            found.append(rng.choice(found))
        elif found and kind < 0.2:
            metric, at, _ = rng.choice(found)
            found.append((metric, at, f"{rng.randint(-99, 99)}"))
        else:
            at = start + timedelta(microseconds=rng.randrange(40 * 86400 * 10**6))
            value = Decimal(rng.randint(-(10**6), 10**6)).scaleb(-rng.randint(0, 5))
            found.append((rng.choice(["temp", "wind"]), at, format(value.normalize(), "f")))
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_the_tables_are_what_the_events_add_up_to_however_they_are_cut_into_commits(
    telemetry: Telemetry, seed: int
) -> None:
    rng = random.Random(seed)
    await telemetry.commit(*(shop.run(f"devices/d-{n}", devices.registered(f"d-{n}")) for n in (1, 2)))
    left = {f"d-{n}": some_readings(10 * seed + n) for n in (1, 2)}
    versions = dict.fromkeys(left, 1)
    while any(left.values()):
        advances = []
        for device_id, readings in left.items():
            facts = []
            for _ in range(rng.randint(1, 3)):
                size = rng.randint(1, 120)
                if taken := readings[:size]:
                    facts.append(devices.recorded(*taken, device_id=device_id, total=versions[device_id]))
                    del readings[:size]
            if facts:
                advances.append(shop.run(f"devices/{device_id}", *facts, expected=versions[device_id]))
                versions[device_id] += len(facts)
        await telemetry.commit(*advances)
    assert await telemetry.problems() == {}
    [(kept, duplicates, conflicting)] = await telemetry.rows(
        "SELECT sum(count), sum(duplicates), sum(conflicting) FROM days"
    )
    assert kept + duplicates + conflicting == 1200
    assert min(duplicates, conflicting) > 30
    [(total,)] = await telemetry.rows("SELECT sum(value) FROM readings")
    assert total == (await telemetry.rows("SELECT sum(sum) FROM hours"))[0][0]


async def test_the_first_of_two_readings_at_the_same_time_counts(telemetry: Telemetry) -> None:
    first, other = ("temp", NOON, "1.5"), ("temp", NOON, "99")
    await telemetry.commit(shop.run("devices/d-1", devices.registered(), devices.recorded(first, other, first)))
    await telemetry.commit(shop.run("devices/d-1", devices.recorded(other, first), expected=2))
    assert await telemetry.rows("SELECT count, sum, last, duplicates, conflicting FROM days") == [
        (1, Decimal("1.5"), Decimal("1.5"), 2, 2)
    ]
    assert await telemetry.rows("SELECT outside_at FROM series") == [(None,)]
    assert await telemetry.problems() == {}


async def test_verify_finds_a_reading_that_was_changed_or_lost(telemetry: Telemetry) -> None:
    readings = [("temp", NOON + n * SECONDS, f"{n}") for n in range(10)]
    await telemetry.commit(shop.run("devices/d-1", devices.registered(), devices.recorded(*readings)))
    for damage in (
        "UPDATE readings SET value = 5.0001 WHERE value = 5",
        "UPDATE readings SET value = 9 - value",
        "DELETE FROM readings WHERE value = 0",
        "UPDATE hours SET sum = sum + 0.000000000000000001",
        "UPDATE series SET outside_at = last_at",
    ):
        transaction = telemetry.connection.transaction()
        await transaction.start()
        await telemetry.connection.execute(damage)
        await transaction.commit()
        found = await telemetry.problems()
        assert set(found) == {"devices/d-1"}, damage
        await telemetry.connection.execute("TRUNCATE readings, hours, days, series, devices, positions")
        telemetry.advances.clear()
        await telemetry.commit(shop.run("devices/d-1", devices.registered(), devices.recorded(*readings)))
        assert await telemetry.problems() == {}


async def test_readings_before_the_horizon_are_forgotten_and_verify_expects_none(telemetry: Telemetry) -> None:
    months = [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 2, 3)]
    readings = [("temp", at, "31") for at in months]
    await telemetry.commit(shop.run("devices/d-1", devices.registered(), devices.recorded(*readings)))
    await telemetry.store.forget_before(datetime(2026, 2, 20, tzinfo=UTC))
    assert await telemetry.rows("SELECT at FROM readings ORDER BY at") == [(months[1],), (months[2],)]
    assert await telemetry.problems() == {}
    late = devices.recorded(("temp", months[0], "7"), ("wind", months[0], "7"), ("temp", months[1], "31"))
    await telemetry.commit(shop.run("devices/d-1", late, expected=2))
    assert await telemetry.rows("SELECT metric, last_at FROM series") == [("temp", months[2])]
    assert await telemetry.rows("SELECT sum(count), sum(duplicates) FROM days") == [(2, 1)]
    assert await telemetry.problems() == {}
    await telemetry.store.forget_before(datetime(2026, 1, 20, tzinfo=UTC))  # it only moves forward
    assert await telemetry.rows("SELECT horizon FROM retention") == [(datetime(2026, 2, 1, tzinfo=UTC),)]
    await telemetry.store.forget_before(datetime(2026, 4, 20, tzinfo=UTC))
    assert await telemetry.rows("SELECT count(*) FROM readings") == [(0,)]
    assert await telemetry.rows("SELECT count(*) FROM series") == [(0,)]
    assert await telemetry.problems() == {}


async def test_a_commit_moves_the_horizon_where_there_is_a_retention(open_telemetry: Callable[..., Any]) -> None:
    telemetry = await open_telemetry(TelemetryOptions(retention_days=1))
    await telemetry.commit(shop.run("devices/d-1", devices.registered(), devices.recorded(("temp", NOON, "1"))))
    await telemetry.store.commit(Commit())
    [(horizon,)] = await telemetry.rows("SELECT horizon FROM retention")
    assert datetime.now(UTC) - timedelta(days=33) < horizon <= datetime.now(UTC) - timedelta(days=1)
    assert await telemetry.rows("SELECT count(*) FROM readings") == [(0,)]
    assert await telemetry.problems() == {}
