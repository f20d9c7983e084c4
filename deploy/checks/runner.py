"""Carries out verifications and comparisons that were asked for over HTTP, one after the other, by the commands that operators type.

    checks (operations database) ──queued──▶ Runner ──▶ tidemark verify | tidemark projections compare, a process each
                                 ◀──progress, result── Runner

A command in a process of its own takes its memory with it, and can be ended at any time. A check that was running when its runner ended is
carried out again by the next one: both commands only read, and to heal twice is harmless. One runner is active at a time (advisory lock).
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from shared.runtime.leading import Leader
from shared.runtime.process import Stopped, pause
from shared.views.operations import SCHEMA

log: Final = logging.getLogger(__name__)

CHANNEL: Final = "checks"
EVERY_S: Final = 1.0
ENDING_S: Final = 5.0
MAX_RESULT_BYTES: Final = 8 * 1024 * 1024
MAX_TEXT: Final = 500

REQUEUE: Final = "UPDATE checks SET state = 'queued', progress = '' WHERE state = 'running' AND NOT cancelled"
GIVE_UP: Final = "UPDATE checks SET state = 'cancelled', finished_at = now() WHERE state = 'running' AND cancelled"
TAKE: Final = """
UPDATE checks SET state = 'running', started_at = now(), progress = ''
WHERE id = (SELECT min(id) FROM checks WHERE state = 'queued')
RETURNING id, kind, request::text AS request
"""
REPORT: Final = "UPDATE checks SET progress = $2 WHERE id = $1 RETURNING cancelled"
FINISH: Final = """
UPDATE checks SET state = $2, equal = $3, result = $4::jsonb, error = $5, finished_at = now() WHERE id = $1
"""


class Runner:
    def __init__(self, operations_db_url: str, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = dict(environ)
        self._leader = Leader(
            operations_db_url,
            lock=f"tidemark {CHANNEL}",
            channel=CHANNEL,
            what="tidemark checks",
            store="the operations database",
            schema=SCHEMA,
        )

    @property
    def trouble(self) -> str | None:
        return self._leader.trouble

    async def run(self, stopping: asyncio.Event) -> None:
        """Until ``stopping``; while the database is unavailable, it waits."""

        async def begin(connection: asyncpg.Connection) -> None:
            await connection.execute(GIVE_UP)
            await connection.execute(REQUEUE)
            self._leader.problem = None

        async def work(connection: asyncpg.Connection) -> None:
            row = await connection.fetchrow(TAKE)
            if row is None:
                with contextlib.suppress(Stopped):
                    await pause(stopping, EVERY_S)
            else:
                await self._carry_out(connection, row, stopping)

        await self._leader.run(stopping, begin=begin, work=work)

    async def _carry_out(self, connection: asyncpg.Connection, row: asyncpg.Record, stopping: asyncio.Event) -> None:
        check_id, arguments = row["id"], command(row["kind"], json.loads(row["request"]))
        log.info("check %d: tidemark %s", check_id, " ".join(arguments))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli.main", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environ,
            limit=MAX_RESULT_BYTES,
        )
        said = _Said()
        reading = asyncio.gather(_read(process.stdout), said.read(process.stderr))
        cancelled = False
        try:
            while not reading.done():
                await asyncio.wait([reading], timeout=EVERY_S)
                cancelled = cancelled or await connection.fetchval(REPORT, check_id, said.last)
                if stopping.is_set() or cancelled:
                    break
        finally:
            if not reading.done():
                await _end(process)
        output, _ = await reading
        code = await process.wait()
        if cancelled:
            await connection.execute(FINISH, check_id, "cancelled", None, None, None)
        elif not stopping.is_set():  # else the next runner takes it up again
            await connection.execute(FINISH, check_id, *outcome(code, output, said.last))


def command(kind: str, asked: Mapping[str, Any]) -> Sequence[str]:
    """The arguments of ``tidemark`` for a check, given its request, which the contract has checked (``Check``)."""
    projections: Sequence[str] = asked.get("projections", ())
    if kind == "compare":
        options = {"--generation": "generation", "--with": "against", "--sample": "sample"}
        given = [part for option, name in options.items() if name in asked for part in (option, str(asked[name]))]
        return ["projections", "compare", projections[0], *given, "--output", "json"]
    chosen = [part for name in projections for part in ("--projection", name)]
    sample = ["--sample", str(asked["sample"])] if "sample" in asked else []
    heal = ["--heal"] if asked.get("heal") else []
    return ["verify", *chosen, *sample, *heal, "--output", "json"]


def outcome(code: int, output: bytes, last_line: str) -> tuple[str, bool | None, str | None, str | None]:
    """State, whether all was equal, the result and the error of a command that has ended."""
    try:
        result = json.loads(output) if code in (0, 1) and output else None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        return "failed", None, None, last_line or f"it ended with exit code {code}"
    return "finished", code == 0, json.dumps(result), None


class _Said:
    """The latest line of a program's standard error."""

    last = ""

    async def read(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None  # noqa: S101 - it was asked for
        async for line in stream:
            text = line.decode(errors="replace").strip().replace("\x00", "")
            self.last = text[:MAX_TEXT] or self.last


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None  # noqa: S101 - it was asked for
    return await stream.read()


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(ENDING_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
