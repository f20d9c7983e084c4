"""Poison, the dead letters that come of it, and the replay that makes all good."""

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from shared.messages.control import Replay, Selection
from shared.messaging.operators.operations_client import request, send_request
from shared.views import operations
from shared.views.operations import Done
from tests.faults.cluster import Cluster
from tests.faults.waiting import fetch, until

ONE_IN: Final = 20
POISON: Final = {"TIDEMARK_POISON": f"summary:1/{ONE_IN}", "TIDEMARK_SUMMARY_RETRIES": "0"}
"""The summary cannot apply the events of one stream in twenty, and gives each up at once."""

HELD: Final = "SELECT stream, version, attempts FROM held WHERE status = 'dead' ORDER BY stream"
LETTERS: Final = "SELECT stream, version, status FROM letters WHERE origin = 'summary' ORDER BY stream"
JOB: Final = "SELECT state, why, total, succeeded, failed, skipped FROM jobs WHERE id = $1"


def poisoned(versions: Mapping[str, int]) -> frozenset[str]:
    """Those of the streams that the summary cannot apply."""
    return frozenset(stream for stream in versions if crc32(stream.encode()) % ONE_IN < 1)


async def held(cluster: Cluster) -> list[tuple[str, int]]:
    """Streams dead in the summary, and the version that each waits for."""
    return [
        (row["stream"], row["version"])
        for row in await fetch(cluster.servers.stores["summary"], HELD, schema="summary")
    ]


async def letters(cluster: Cluster) -> list[tuple[str, int]]:
    rows = await fetch(cluster.servers.operations_db_url, LETTERS, schema=operations.SCHEMA)
    return [(row["stream"], row["version"]) for row in rows]


async def each_has_its_letter(cluster: Cluster, streams: frozenset[str]) -> None:
    """Return when every one of the streams is held, and has a letter; none may have two, or be without a hold."""
    await until(lambda: held(cluster), lambda found: {stream for stream, _ in found} == streams)
    await until(lambda: letters(cluster), lambda found: len(found) >= len(streams))
    assert await letters(cluster) == await held(cluster)


async def replay_everything(cluster: Cluster) -> int:
    """The job's id, once the worker has answered; a worker that is away has a minute to come back."""
    act = Replay(selection=Selection(everything=True), actor="tests", reason="the poison is gone")
    answer = await send_request(cluster.servers.rabbitmq_url, request(act, source="tests"), seconds=60)
    assert isinstance(answer, Done), answer
    assert answer.job_id is not None
    return answer.job_id


async def replayed(cluster: Cluster, job: int) -> None:
    """Return when the job has come to its end, every letter a success."""

    async def look() -> dict[str, object]:
        [row] = await fetch(cluster.servers.operations_db_url, JOB, job, schema=operations.SCHEMA)
        return dict(row)

    found = await until(look, lambda row: row["state"] in ("completed", "stopped", "cancelled"))
    assert found["state"] == "completed", found
    assert found["succeeded"] == found["total"], found
