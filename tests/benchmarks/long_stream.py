"""What a command costs on a stream of 10, 1,000, 10,000 and 100,000 events, as JSON: the state is kept beside the stream, so the same.

    python -m tests.benchmarks.long_stream

Users that were renamed as often. Then blocks of commands, one at a time and for each length in turn, by the worker's own handler:
latency, and CPU of this process and of PostgreSQL. The ratios are to the shortest, in the same run. ``replay_s`` is what loading one
would take without the state; ``archived`` are the same commands after the old events have moved to the archive.
"""

import argparse
import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, Final

import asyncpg

from command_service.archiving.archiver import archive
from command_service.domain.users import AGGREGATE
from command_service.handling.decision import Outcome
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from command_service.handling.state_replay import replay
from deploy.run.migrate import WRITE_MIGRATIONS
from deploy.run.resource_usage import process_tree_usage
from deploy.sending.outcomes import percentile
from deploy.servers.provide import Servers, provide
from shared.privacy.key_database import migrate as migrate_keys
from shared.runtime.postgres import migrate
from tests.benchmarks.measuring import server_pids

LENGTHS: Final = (10, 1_000, 10_000, 100_000)
BATCH: Final = 200
SPREAD: Final = 1_000
"""Events of all users of a length, at least."""
DEADLINE_S: Final = 600.0


class Users:
    """Users of each length: of the shorter ones more, so that they stay about as short while they are measured."""

    def __init__(self, handler: Handler, lengths: Sequence[int]) -> None:
        self._handler = handler
        self._names = {length: [f"u-{length}-{n}" for n in range(max(1, SPREAD // length))] for length in lengths}
        self._turn = {length: cycle(names) for length, names in self._names.items()}
        self._sent: Counter[str] = Counter()

    async def grow(self) -> None:
        for length, names in self._names.items():
            for user in names:
                data = {"user_id": user, "name": "Ann", "email": f"{user}@example.org", "role": "clerk"}
                await self._decide([self._next(user, "accounts.create-user", **data)])
                while (left := length - self._sent[user]) > 0:
                    await self._decide([self._next(user) for _ in range(min(BATCH, left))])

    def first(self, length: int) -> str:
        return f"users/{self._names[length][0]}"

    async def one(self, length: int) -> float:
        """The seconds that a command takes, alone, for the next of these users."""
        given = self._next(next(self._turn[length]))
        began = time.perf_counter()
        await self._decide([given])
        return time.perf_counter() - began

    def _next(self, user: str, type_: str = "accounts.rename-user", **data: str) -> Command:
        number = self._sent[user]
        self._sent[user] += 1
        element = {"id": f"{user}-{number}", "source": "bench", "type": type_, "subject": user, "actor": "bench"}
        (part,) = read(json.dumps(element | {"data": data or {"name": f"Ann {number}"}}).encode()).parts
        assert isinstance(part, Command), part
        return part

    async def _decide(self, commands: Sequence[Command]) -> None:
        for result in await self._handler.handle(commands):
            assert isinstance(result, Outcome), result
            assert result.accepted, result.body


async def measure(users: Users, lengths: Sequence[int], servers: Servers, blocks: int, size: int) -> dict[str, Any]:
    """Length → what its commands cost, and the ratios to those of the shortest."""
    postgres = server_pids(servers).get("postgres")
    seconds: dict[int, list[float]] = defaultdict(list)
    cpu: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for length in lengths:  # connections, plans and caches
        for _ in range(size):
            await users.one(length)
    for _ in range(blocks):
        for length in lengths:
            before = time.process_time(), _cpu(postgres)
            seconds[length] += [await users.one(length) for _ in range(size)]
            after = time.process_time(), _cpu(postgres)
            cpu[length] = [spent + now - then for spent, then, now in zip(cpu[length], before, after, strict=True)]
    found = {
        length: {
            "p50_ms": round((percentile(seconds[length], 0.5) or 0) * 1000, 3),
            "p99_ms": round((percentile(seconds[length], 0.99) or 0) * 1000, 3),
            "worker_cpu_ms": round(cpu[length][0] * 1000 / blocks / size, 3),
            "postgres_cpu_ms": round(cpu[length][1] * 1000 / blocks / size, 3),
        }
        for length in lengths
    }
    first = found[lengths[0]]
    ratios = {
        length: {name: round(value / first[name], 2) for name, value in one.items() if first[name]}
        for length, one in found.items()
    }
    return {"by_length": found, "ratio_to_shortest": ratios}


def _cpu(pid: int | None) -> float:
    return 0.0 if pid is None else process_tree_usage(pid).cpu_s


async def replays(connection: asyncpg.Connection, users: Users, lengths: Sequence[int]) -> dict[int, float]:
    found = {}
    for length in lengths:
        began = time.perf_counter()
        state = await replay(connection, users.first(length), AGGREGATE, length)
        assert not isinstance(state, Exception), state
        found[length] = round(time.perf_counter() - began, 4)
    return found


async def run(lengths: Sequence[int], blocks: int, size: int) -> dict[str, Any]:
    with provide() as servers:
        url = servers.environ()["TIDEMARK_WRITE_DB_URL"]
        await migrate(url, sorted(WRITE_MIGRATIONS.glob("*.sql")))
        await migrate_keys(servers.keys_db_url)
        handler, connection = Handler(url, servers.keys_db_url), await asyncpg.connect(url)
        try:
            async with asyncio.timeout(DEADLINE_S):
                users = Users(handler, lengths)
                began = time.perf_counter()
                await users.grow()
                grown = time.perf_counter() - began
                found: dict[str, Any] = {"grown_s": round(grown, 1), "commands_a_length": blocks * size}
                found |= await measure(users, lengths, servers, blocks, size)
                found["replay_s"] = await replays(connection, users, lengths)
                began = time.perf_counter()
                moved = await archive(connection, datetime.now(UTC) + timedelta(minutes=1), kinds=["users"])
                spent = time.perf_counter() - began
                await connection.execute("VACUUM events")
                found["archiving"] = {
                    "events": moved.events,
                    "seconds": round(spent, 2),
                    "events_a_second": round(moved.events / spent),
                    "events_left_in_the_hot_table": await connection.fetchval("SELECT count(*) FROM events"),
                }
                found["archived"] = await measure(users, lengths, servers, blocks, size)
                found["archived"]["replay_s"] = await replays(connection, users, lengths)
                return found
        finally:
            await connection.close(timeout=5)
            await handler.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=10, help="blocks of commands for each length")
    parser.add_argument("--size", type=int, default=50, help="commands in a block")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(run(sorted(given.lengths), given.blocks, given.size)), indent=2))


if __name__ == "__main__":
    main()
