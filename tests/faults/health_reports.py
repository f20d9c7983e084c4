"""What the deployables report about their health: ``tidemark health``, readiness over HTTP, and ``/freshness``."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from shared.read_models import NAMES
from tests.faults.cluster import Cluster
from tests.faults.waiting import until

REPORT_TIMEOUT_S: Final = 10.0
RECOVERY_TIMEOUT_S: Final = 10.0
SERVICES: Final = ("http", "query")
PROJECTIONS: Final = NAMES


async def wait_until_healthy(cluster: Cluster, *, within_s: float = RECOVERY_TIMEOUT_S) -> None:
    """Return when no deployable reports trouble, and every projection is current."""

    async def look() -> dict[str, Any]:
        said = {name: troubles for name in cluster.names if (troubles := await cluster.troubles(name))}
        not_ready = {name: words for name in SERVICES if (words := await not_ready_of(cluster, name))}
        stale = {one: found for one, found in (await freshness(cluster)).items() if found["status"] != "current"}
        return said | not_ready | stale

    await until(look, lambda found: found == {}, within_s=within_s)


async def not_ready(cluster: Cluster, names: Sequence[str], *words: str, within_s: float = REPORT_TIMEOUT_S) -> None:
    """Return when each of these reports that it is not ready, with these words in the reason; over HTTP too, if it serves HTTP."""

    def complete(said: Mapping[str, str]) -> bool:
        return all(text and all(word in text for word in words) for text in said.values())

    async def look() -> dict[str, str]:
        found = {name: "; ".join((await cluster.troubles(name)).values()) for name in names}
        found |= {f"{name} /health/ready": await not_ready_of(cluster, name) for name in names if name in SERVICES}
        return found

    await until(look, complete, within_s=within_s)


async def not_ready_of(cluster: Cluster, name: str) -> str:
    """The problem's detail; empty if ``/health/ready`` returns 200."""
    answer = await _get(cluster, name, "/health/ready")
    if answer is None:
        return "no answer"
    assert answer.status_code in (200, 503), answer.text
    detail: str = "" if answer.status_code == 200 else json.loads(answer.content)["detail"]
    return detail


async def serves(cluster: Cluster, name: str) -> bool:
    """Whether ``/health/serving``, which load balancers query, returns 200."""
    answer = await _get(cluster, name, "/health/serving")
    return answer is not None and answer.status_code == 200


async def freshness(cluster: Cluster) -> Mapping[str, Mapping[str, Any]]:
    """By projection."""
    answer = await _get(cluster, "query", "/freshness")
    if answer is None:
        return {name: {"status": "no answer"} for name in PROJECTIONS}
    return {one["projection"]: {"status": "unavailable", **one} for one in answer.json()["projections"]}


async def process_troubles(cluster: Cluster, name: str) -> Mapping[str, str]:
    """The troubles that ``/freshness`` lists for the process."""
    answer = await _get(cluster, "query", "/freshness")
    assert answer is not None
    found: dict[str, str] = {}
    for one in answer.json()["processes"]:
        found |= one["troubles"] if one["process"] == name else {}
    return found


async def stalled(cluster: Cluster, names: Sequence[str], *words: str, within_s: float = REPORT_TIMEOUT_S) -> None:
    """Return when ``/freshness`` reports these projections, and no others, as stalled, with these words in the reason."""

    def as_said(found: Mapping[str, Mapping[str, Any]]) -> bool:
        return {name for name, one in found.items() if one["status"] == "stalled"} == set(names) and all(
            word in (found[name].get("reason") or "") for name in names for word in words
        )

    await until(lambda: freshness(cluster), as_said, within_s=within_s)


async def _get(cluster: Cluster, name: str, path: str) -> httpx.Response | None:
    url = cluster.query_url if name == "query" else cluster.command_url
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=8) as client, asyncio.timeout(8):
            return await client.get(path)
    except (httpx.TransportError, TimeoutError):
        return None
