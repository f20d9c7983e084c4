"""What the claims of a booking cost: commands a second by the length of the bookings, beside commands that claim nothing, as JSON.

    python -m tests.benchmarks.booking_claims

One handler in this process, batches of a hundred, a database of its own. The yardstick, in the same run: registering patients. ``ratio`` is
the time for one command in units of that.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import uvloop

from command_service.handling.decision import Outcome
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from deploy.demo.system import settings_for
from deploy.run.migrate import migrate
from tests.e2e.system import own_servers

BATCH: Final = 100
LENGTHS: Final = (5, 30, 120, 480)
FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
SIZE: Final = "SELECT count(*) AS claims, pg_total_relation_size('claims') AS bytes FROM claims"


def command(type_: str, subject: str, data: dict[str, Any]) -> Command:
    envelope = {"specversion": "1.0", "id": f"{type_}-{subject}", "source": "benchmark", "type": f"bookings.{type_}"}
    (part,) = read(json.dumps(envelope | {"subject": subject, "data": data}).encode()).parts
    assert isinstance(part, Command)
    return part


def patients(count: int) -> Iterator[Command]:
    for number in range(count):
        yield command("register-patient", f"p-{number}", {"patient_id": f"p-{number}", "name": "Paul"})


def requests(count: int, minutes: int) -> Iterator[Command]:
    """One after the other for a doctor, each with a patient of its own."""
    for number in range(count):
        data = {
            "booking_id": f"b-{minutes}-{number}",
            "doctor_id": f"d-{minutes}",
            "patient_id": f"p-{minutes}-{number}",
        }
        starts_at = (FIRST + number * timedelta(minutes=minutes + 5)).isoformat()
        yield command("request-booking", data["booking_id"], data | {"starts_at": starts_at, "minutes": minutes})


def moves(count: int, minutes: int) -> Iterator[Command]:
    """By five minutes: nearly all of the time is kept."""
    for number in range(count):
        starts_at = (FIRST + number * timedelta(minutes=minutes + 5) + timedelta(minutes=5)).isoformat()
        yield command("move-booking", f"b-{minutes}-{number}", {"starts_at": starts_at})


async def measured(handler: Handler, commands: list[Command]) -> float:
    """Seconds for one command."""
    began = time.perf_counter()
    for first in range(0, len(commands), BATCH):
        for result in await handler.handle(commands[first : first + BATCH]):
            assert isinstance(result, Outcome)
            assert result.accepted, result.body
    return (time.perf_counter() - began) / len(commands)


async def run(count: int) -> dict[str, Any]:
    with own_servers() as servers:
        await migrate(settings_for(servers))
        handler = Handler(servers.write_db_url, servers.keys_db_url)
        connection = await asyncpg.connect(servers.write_db_url)
        await measured(
            handler, [command("register-doctor", f"d-{n}", {"doctor_id": f"d-{n}", "name": "x"}) for n in range(200)]
        )
        yardstick = await measured(handler, list(patients(count)))
        found = {"register-patient": yardstick}
        for minutes in LENGTHS:
            found[f"request {minutes} minutes: {2 * minutes // 5} claims"] = await measured(
                handler, list(requests(count, minutes))
            )
        found["move 480 minutes by 5: 2 released, 2 taken"] = await measured(handler, list(moves(count, 480)))
        [size] = await connection.fetch(SIZE)
        await connection.close()
        await handler.close()
    return {
        "commands_of_each": count,
        "commands": {
            name: {"per_second": round(1 / seconds), "ratio": round(seconds / yardstick, 1)}
            for name, seconds in found.items()
        },
        "bytes_of_a_claim": round(size["bytes"] / size["claims"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="booking_claims", description=__doc__.partition("\n")[0])
    parser.add_argument("--commands", type=int, default=1000, help="of each kind")
    print(json.dumps(uvloop.run(run(parser.parse_args().commands)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
