"""No double booking on a real database, however many workers decide at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest

from command_service.handling.handler import Handler
from command_service.handling.parsing import Command
from shared.runtime.settings import Settings
from tests.integration.command_service.test_handling import command, verdicts

NINE = datetime(2026, 3, 30, 9, tzinfo=UTC)
WORKERS = 5
OVERLAPS = """
SELECT a.stream, b.stream FROM streams a JOIN streams b ON a.stream < b.stream AND a.kind = 'bookings' AND b.kind = 'bookings'
WHERE a.state ->> 'status' <> 'cancelled' AND b.state ->> 'status' <> 'cancelled'
  AND (a.state ->> 'doctor_id' = b.state ->> 'doctor_id' OR a.state ->> 'patient_id' = b.state ->> 'patient_id')
  AND (a.state ->> 'starts_at')::timestamptz < (b.state ->> 'ends_at')::timestamptz
  AND (b.state ->> 'starts_at')::timestamptz < (a.state ->> 'ends_at')::timestamptz
"""
SLOTS = """
SELECT coalesce(sum(extract(epoch FROM (state ->> 'ends_at')::timestamptz - (state ->> 'starts_at')::timestamptz) / 300), 0)::bigint
FROM streams WHERE kind = 'bookings' AND state ->> 'status' <> 'cancelled'
"""


@pytest.fixture
async def workers(write_db: asyncpg.Connection, migrated: Settings) -> AsyncIterator[list[Handler]]:
    made = [Handler(migrated.write_db_url, migrated.keys_db_url) for _ in range(WORKERS)]
    yield made
    for worker in made:
        await worker.close()


def request(key: str, booking: str, start: int, minutes: int, *, doctor: str = "d", patient: str = "") -> Command:
    """``start``: minutes after nine. Each has a patient of its own, unless it says which."""
    data = {"booking_id": booking, "doctor_id": doctor, "patient_id": patient or f"p-{booking}", "minutes": minutes}
    return command("bookings.request-booking", key, data | {"starts_at": at(start)})


def move(key: str, booking: str, start: int, **more: Any) -> Command:
    return command("bookings.move-booking", key, {"starts_at": at(start)} | more, subject=booking)


def cancel(key: str, booking: str) -> Command:
    return command("bookings.cancel-booking", key, {"reason": "ill"}, subject=booking)


def at(minute: int) -> str:
    return (NINE + timedelta(minutes=minute)).isoformat()


async def all_at_once(workers: list[Handler], commands: list[Command]) -> Counter[str]:
    """Each command as a unit of work of its own, by turns on all workers; the verdicts."""
    results = await asyncio.gather(*(workers[n % WORKERS].handle([one]) for n, one in enumerate(commands)))
    return Counter(verdict for result in results for verdict in verdicts(result))


async def test_of_fifty_requests_for_overlapping_times_of_a_doctor_exactly_one_wins(
    workers: list[Handler], write_db: asyncpg.Connection
) -> None:
    # All contain the slot at 10:00, from within an hour before it to an hour after it.
    requests = [request(f"k{n}", f"b{n}", 60 - 5 * (n % 13), 5 * (n % 13) + 5 + 5 * (n % 7)) for n in range(50)]
    assert await all_at_once(workers, requests) == {"v1": 1, "slot-taken": 49}
    assert await write_db.fetchval("SELECT count(*) FROM events") == 1
    assert await write_db.fetchval("SELECT count(*) FROM claims") == 2 * await write_db.fetchval(SLOTS)


async def test_of_fifty_doctors_who_want_a_patient_at_once_exactly_one_gets_him(workers: list[Handler]) -> None:
    requests = [request(f"k{n}", f"b{n}", 5 * (n % 6), 60, doctor=f"d{n}", patient="p") for n in range(50)]
    assert await all_at_once(workers, requests) == {"v1": 1, "patient-busy": 49}


async def test_of_fifty_moves_into_a_freed_time_exactly_one_wins(
    workers: list[Handler], write_db: asyncpg.Connection
) -> None:
    begun = [request("k", "b", 0, 30), *(request(f"k{n}", f"b{n}", 60 * n, 30) for n in range(1, 51))]
    assert await all_at_once(workers, begun) == {"v1": 51}
    # The first goes away by five minutes more than it lasts: nobody else fits before its move, and one does after it.
    assert await all_at_once(workers, [move("away", "b", 35, minutes=25)]) == {"v2": 1}
    assert await all_at_once(workers, [move(f"m{n}", f"b{n}", 0) for n in range(1, 51)]) == {"v2": 1, "slot-taken": 49}
    assert await write_db.fetch(OVERLAPS) == []


async def test_two_bookings_cannot_swap_their_times_and_each_can_move_within_its_own(workers: list[Handler]) -> None:
    await all_at_once(workers, [request("k1", "b1", 0, 30), request("k2", "b2", 30, 30)])
    swapped = await all_at_once(workers, [move("m1", "b1", 30), move("m2", "b2", 0)])
    assert swapped == {"slot-taken": 2}
    assert await all_at_once(workers, [move("m3", "b1", 5, minutes=20), move("m4", "b2", 40)]) == {"v2": 2}


@pytest.mark.parametrize("seed", range(3))
async def test_no_bookings_overlap_after_requests_moves_and_cancellations_at_once(
    workers: list[Handler], write_db: asyncpg.Connection, seed: int
) -> None:
    random = Random(seed)
    sent: list[str] = []
    for round_ in range(4):
        commands: list[Command] = []
        for n in range(50):
            key, start, minutes = f"{round_}-{n}", 5 * random.randrange(100), 5 * random.randint(1, 6)
            if not sent or random.random() < 0.5:
                sent.append(key)
                who = {"doctor": f"d{random.randrange(3)}", "patient": f"p{random.randrange(6)}"}
                commands.append(request(key, key, start, minutes, **who))
            elif random.random() < 0.6:
                commands.append(move(key, random.choice(sent), start, minutes=minutes))
            else:
                commands.append(cancel(key, random.choice(sent)))
        batches = [commands[n::10] for n in range(10)]
        await asyncio.gather(*(workers[n % WORKERS].handle(batch) for n, batch in enumerate(batches)))
        assert await write_db.fetch(OVERLAPS) == []
        assert await write_db.fetchval("SELECT count(*) FROM claims") == 2 * await write_db.fetchval(SLOTS)
    assert await write_db.fetchval("SELECT count(*) FROM streams WHERE state ->> 'status' = 'cancelled'") > 0
    assert await write_db.fetchval("SELECT count(*) FROM events WHERE envelope ->> 'type' LIKE '%moved'") > 0
