"""The measurements: how many orders a second, and how long after its publication an order is to be seen in all
three stores.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from deploy.run.resource_usage import ResourceUsage, process_tree_usage, resource_usages
from deploy.run.supervisor import Supervisor
from deploy.sending.outcomes import percentile
from deploy.servers import leftovers
from deploy.servers.provide import Servers
from tests.benchmarks.pipelines import Probe
from tests.shop import WITH_ORDERS

WARM_UP: Final = 300
SEND_DEADLINE_S: Final = 60.0
SETTLE_S: Final = 2.0
WATCHED_A_SECOND: Final = 50
AHEAD: Final = 25

DECIDED: Final = """
SELECT stream, extract(epoch FROM updated_at)::float8 AS at FROM streams WHERE stream = ANY($1::text[])
"""
SEEN: Final = "SELECT stream FROM positions WHERE stream = ANY($1::text[])"


@dataclass(frozen=True, slots=True)
class Orders:
    """The commands of a benchmark: a file of bodies, one a line, and the stream of each."""

    file: Path
    streams: Sequence[str]


class Costs:
    """CPU seconds since it was made, and peak memory, by process."""

    def __init__(self, supervisor: Supervisor, roles: Sequence[str], servers: Mapping[str, int]) -> None:
        self._pids = {role: supervisor.pid(role) for role in roles}
        self._servers = servers
        self._before = self._now()
        self._machine_before = _machine()

    def machine(self) -> dict[str, float]:
        """CPU seconds of the whole machine since then; of them those of the bench itself (its sender and its looking),
        and those that are nobody's here: somebody else's work."""
        spent = {name: now - self._machine_before[name] for name, now in _machine().items()}
        ours = spent["bench"] + sum(cost.cpu_s for cost in self.spent().values())
        return {name: round(value, 2) for name, value in (spent | {"others": max(0.0, spent["busy"] - ours)}).items()}

    def spent(self) -> dict[str, ResourceUsage]:
        now = self._now()
        return {
            name: ResourceUsage(now[name].peak_mib, round(now[name].cpu_s - self._before[name].cpu_s, 2))
            for name in now
        }

    def _now(self) -> dict[str, ResourceUsage]:
        return resource_usages(self._pids) | {name: process_tree_usage(pid) for name, pid in self._servers.items()}


def server_pids(servers: Servers) -> dict[str, int]:
    """Only private servers are processes that can be seen."""
    if servers.private is None:
        return {}
    records = servers.private.root.glob(f"*/{leftovers.PROCESS}")
    return {record.parent.name: leftovers.read(record)["pid"] for record in records}


Send = Callable[[Probe, str, Orders, int, int, float], Awaitable[dict[str, Any]]]
"""Sends some of the commands to the server at this URL: the first, how many, at what rate. What the sender reports."""


async def send(
    probe: Probe, rabbitmq_url: str, orders: Orders, first: int, count: int, rate: float, *user: str
) -> dict[str, Any]:
    """Run the sender over these orders; what it reports. ``user``: the ``user-id`` of its messages; by default they have none."""
    arguments = (probe.pipeline.exchange, str(orders.file), str(first), str(count), str(rate), *user)
    return await run_sender("tests.benchmarks.sending", *arguments, environ={"TIDEMARK_RABBITMQ_URL": rabbitmq_url})


async def run_sender(module: str, *arguments: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """What it prints, which is JSON. Raises RuntimeError, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SEND_DEADLINE_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the sender ended with {process.returncode}")
    report: dict[str, Any] = json.loads(output)
    return report


async def throughput(
    probe: Probe, url: str, orders: Orders, first: int, count: int, begin: Callable[[], Costs], send: Send = send
) -> dict[str, Any]:
    """Orders a second from the first publication to the last order in the last store, everything at full speed.

    ``url``: where ``send`` sends them, RabbitMQ's by default. ``first``: so many were sent before, and are in the stores.
    """
    cost = begin()
    report = await send(probe, url, orders, first, count, 0)
    visible = await probe.wait_for(first + count)
    began = report["published"][0]
    seconds = max(visible.values()) - began
    spent = cost.spent() | {"sender": ResourceUsage(0.0, report["cpu_s"])}
    return {
        "pipeline": probe.pipeline.name,
        "orders": count,
        "orders_per_second": round(count / seconds, 1),
        "seconds": round(seconds, 3),
        "confirmed_after_seconds": round(report["confirmed"] - began, 3),
        "visible_after_seconds": {store: round(at - began, 3) for store, at in visible.items()},
        "cpu_seconds": {name: one.cpu_s for name, one in spent.items()},
        "machine": cost.machine(),
        "peak_mib": {name: one.peak_mib for name, one in spent.items() if one.peak_mib},
    }


async def lag(
    probe: Probe,
    rabbitmq_url: str,
    orders: Orders,
    first: int,
    rate: float,
    seconds: float,
    begin: Callable[[], Costs],
    *,
    poll_s: float,
) -> dict[str, Any]:
    """Milliseconds from an order's publication to its being in all three stores, open loop at ``rate``.

    Of a higher rate about fifty orders a second are watched; the stores are asked for those alone, every ``poll_s``,
    which is how much too long a time may be.
    """
    await asyncio.sleep(SETTLE_S)
    cost = begin()
    count = int(rate * seconds)
    every = max(1, round(rate / WATCHED_A_SECOND))
    watched = [orders.streams[number] for number in range(first, first + count, every)]
    seen: dict[str, dict[str, float]] = {store: {} for store in WITH_ORDERS}
    watching = [asyncio.create_task(_watch(probe, store, watched, seen[store], poll_s)) for store in WITH_ORDERS]
    report = await send(probe, rabbitmq_url, orders, first, count, rate)
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(*watching)
    finally:
        for task in watching:
            task.cancel()
    published = dict(zip(orders.streams[first : first + count], report["published"], strict=True))
    everywhere = [max(seen[store][stream] for store in WITH_ORDERS) - published[stream] for stream in watched]
    decided = await _decided(probe, watched)
    return {
        "orders_per_second": round(rate, 1),
        "sent_per_second": round((count - 1) / (report["published"][-1] - report["published"][0]), 1),
        "seconds": round(seconds, 1),
        "watched": len(watched),
        "poll_ms": poll_s * 1000,
        "machine": cost.machine(),
        "cpu_seconds": {name: one.cpu_s for name, one in cost.spent().items()},
        **_milliseconds(everywhere),
        "until_decided": _milliseconds([at - published[stream] for stream, at in decided.items()]),
        "until_visible": {
            store: _milliseconds([at - published[stream] for stream, at in seen[store].items()])
            for store in WITH_ORDERS
        },
    }


async def _watch(probe: Probe, store: str, streams: Sequence[str], seen: dict[str, float], poll_s: float) -> None:
    """Note when each stream was first seen. Asks for the next few only: they come in about the order they were sent."""
    waiting = list(streams)
    while waiting:
        found = await _present(probe, store, waiting[:AHEAD])
        if found:
            seen |= dict.fromkeys(found, time.monotonic())
            waiting = [stream for stream in waiting[:AHEAD] if stream not in found] + waiting[AHEAD:]
        await asyncio.sleep(poll_s)


async def _decided(probe: Probe, streams: Sequence[str]) -> dict[str, float]:
    """When the worker took each order up, just before its commit, on our clock."""
    offset = time.time() - time.monotonic()
    rows = await probe.databases["write"].fetch(DECIDED, list(streams))
    return {row["stream"]: row["at"] - offset for row in rows}


async def _present(probe: Probe, store: str, streams: Sequence[str]) -> set[str]:
    if store == "analytics":
        versions = await probe.redis.hmget("analytics:positions", list(streams))
        return {stream for stream, version in zip(streams, versions, strict=True) if version is not None}
    return {row[0] for row in await probe.databases[store].fetch(SEEN, list(streams))}


def _machine() -> dict[str, float]:
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return {
        "busy": times.user + times.nice + times.system + getattr(times, "softirq", 0.0),
        "stolen": getattr(times, "steal", 0.0),
        "bench": own.user + own.system + own.children_user + own.children_system,
    }


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    ranked = list(seconds)
    return {
        f"{name}_ms": round((percentile(ranked, share) or 0.0) * 1000, 1)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
