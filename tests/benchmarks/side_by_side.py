"""Two ways to the same answers, timed one after the other: by joins over one connection, and by a query service over HTTP.

Times are those that a client waits. CPU is that of PostgreSQL, Redis and the query service together, so that it says the same on a machine
that does other work as well.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg

from deploy.run.resource_usage import process_tree_usage
from deploy.sending.outcomes import percentile

SHARES: Final = (50, 99)
WITHIN_S: Final = 20.0
"""After this time no further question is answered by joins: with very much data one takes seconds."""


@dataclass(frozen=True, slots=True)
class Timing:
    seconds: Sequence[float]
    cpu_s: float

    def report(self) -> dict[str, float]:
        count = len(self.seconds)
        return {
            "mean_ms": _milliseconds(sum(self.seconds) / count),
            **{f"p{share}_ms": _milliseconds(percentile(list(self.seconds), share / 100) or 0.0) for share in SHARES},
            "cpu_ms": _milliseconds(self.cpu_s / count),
            "count": count,
        }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def compared(joins: Timing, ours: Timing) -> dict[str, Any]:
    """Both, and how many times as much the joins take."""
    theirs, mine = joins.report(), ours.report()
    measures = ("mean_ms", "p50_ms", "p99_ms", "cpu_ms")
    ratio = {name.removesuffix("_ms"): round(theirs[name] / max(mine[name], 0.001), 1) for name in measures}
    return {"joins": theirs, "ours": mine, "ratio": ratio}


class Cpu:
    """CPU seconds of all these processes and their children since the last call."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._before = self._now()

    def spent(self) -> float:
        before, self._before = self._before, self._now()
        return self._before - before

    def _now(self) -> float:
        return sum(process_tree_usage(pid).cpu_s for pid in self._pids)


class Joins:
    def __init__(self, connection: asyncpg.Connection, pids: Sequence[int]) -> None:
        self.connection = connection
        self._cpu = Cpu(pids)

    async def ask(
        self, statement: str, questions: Sequence[Sequence[object]]
    ) -> tuple[Timing, list[list[asyncpg.Record]]]:
        """The statement with each question's arguments; the rows of each. Of the first questions only, if these take WITHIN_S."""
        seconds: list[float] = []
        found: list[list[asyncpg.Record]] = []
        self._cpu.spent()
        for arguments in questions:
            if sum(seconds) > WITHIN_S:
                break
            began = time.perf_counter()
            found.append(await self.connection.fetch(statement, *arguments))
            seconds.append(time.perf_counter() - began)
        return Timing(seconds, self._cpu.spent()), found


class Client:
    """One connection to a query service at a time, kept open while questions follow each other: the service closes an idle one."""

    def __init__(self, port: int, pids: Sequence[int]) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self._cpu = Cpu(pids)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body

    def ask(self, paths: Sequence[str]) -> tuple[Timing, list[bytes]]:
        seconds, found = [], []
        self._connection.close()
        self.get("/health/live")
        self._cpu.spent()
        for path in paths:
            began = time.perf_counter()
            found.append(self.get(path))
            seconds.append(time.perf_counter() - began)
        return Timing(seconds, self._cpu.spent()), found


def checked(
    check: Callable[[asyncpg.Record, bytes], object], rows: Sequence[Sequence[asyncpg.Record]], bodies: Sequence[bytes]
) -> None:
    """Compare the only row of each question with its answer."""
    for (row,), body in zip(rows, bodies, strict=True):
        check(row, body)


def url(path: str, **parameters: object) -> str:
    return f"{path}?{urlencode(parameters)}"
