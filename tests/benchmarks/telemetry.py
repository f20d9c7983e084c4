"""``python -m tests.benchmarks.telemetry``: a million readings through the whole system, beside orders, as one JSON document.

    orders ──▶ rate of orders, the yardstick ──▶ readings, shuffled, one in twenty of them twice ──▶ rate, memory, CPU of each process
           ──▶ every sum compared with Python's Decimal ──▶ what the other read models have applied, and spent, meanwhile

On servers that it starts itself. ``--readings`` is how many are sent, repeated ones included. Bounded to fifteen minutes.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import partial
from typing import Any, Final

import httpx
import uvloop
from rich.console import Console

from deploy.demo import system
from deploy.demo.catching_up import wait_until_applied
from deploy.demo.display import Display
from deploy.demo.read_stores import PostgresReadStore, open_read_stores
from deploy.demo.shop.source import RetailYear
from deploy.run.resource_usage import ResourceUsage, resource_usages
from deploy.sending.batches import CommandMessage, command_message
from deploy.sending.outcomes import Outcome
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers, provide
from projectors.runtime.decoding import decode
from projectors.runtime.fast_decoding import EVERY_KIND
from shared.messaging import topology
from shared.messaging.consuming import Delivery
from shared.read_models import named
from shared.runtime.postgres import connect_pool

DEADLINE_S: Final = 900.0
NO_PROGRESS_S: Final = 120.0
DEVICES: Final = 10
METRICS: Final = ("temp", "humid", "wind", "pressure")
AT_ONCE: Final = 1000
REPEATED: Final = 50
"""Readings of each command that an earlier one of the device had."""
STEP: Final = timedelta(seconds=37)
START: Final = datetime(2020, 1, 1, tzinfo=UTC)
EXACT: Final = Context(prec=60)
OTHERS: Final = ("summary", "analytics", "search")
IDLE_S: Final = 5.0
SOURCE: Final = "tidemark/bench"


class Readings:
    """Readings in a shuffled order that needs no memory: reading ``n`` of a device is at step ``n × stride mod count``."""

    def __init__(self, total: int) -> None:
        self.commands = max(1, total // AT_ONCE)
        per_device = -(-self.commands // DEVICES)
        self._count = per_device * (AT_ONCE - REPEATED)
        self._stride = next(n for n in range(self._count * 618 // 1000, 2 * self._count) if _coprime(n, self._count))
        self.sums: dict[tuple[str, str], Decimal] = {}
        self.unique = 0

    def devices(self) -> Iterator[CommandMessage]:
        metrics = [{"name": name, "unit": "1", "low": "-999", "high": "999"} for name in METRICS]
        for number in range(DEVICES):
            data = {"device_id": f"bench-{number}", "model": "bench", "site": "bench", "metrics": metrics}
            yield command_message("devices.register-device", f"bench-device-{number}", data, source=SOURCE)

    def messages(self) -> Iterator[CommandMessage]:
        """Adds up the sums as it goes: of a reading that is sent twice, once."""
        sent = [0] * DEVICES
        for number in range(self.commands):
            device = number % DEVICES
            first = sent[device]
            new = [self._reading(n) for n in range(first, first + AT_ONCE - REPEATED)]
            again = [self._reading(n * 7919 % first) for n in range(REPEATED)] if first else []
            sent[device] += len(new)
            self.unique += len(new)
            for reading in new:
                place = f"bench-{device}", reading["metric"]
                self.sums[place] = EXACT.add(self.sums.get(place, Decimal(0)), Decimal(reading["value"]))
            data = {"readings": again + new}
            yield command_message(
                "devices.record-telemetry", f"bench-readings-{number}", data, source=SOURCE, subject=f"bench-{device}"
            )

    def _reading(self, n: int) -> dict[str, str]:
        step = n * self._stride % self._count
        value = f"{step * 48271 % 1000 - 500}.{step * 69621 % 1_000_000_007}"
        return {"metric": METRICS[step % 4], "at": (START + STEP * step).isoformat(), "value": value}


def _coprime(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one == 1


class Recorder:
    """The version of each stream, and the memory of some processes whenever a tenth of the outcomes has come."""

    def __init__(self, total: int, usages: Callable[[], Mapping[str, ResourceUsage]]) -> None:
        self.versions: dict[str, int] = {}
        self.rejected: dict[str, int] = {}
        self.tenths: list[tuple[float, Mapping[str, ResourceUsage]]] = []
        self._usages = usages
        self._total = total
        self._count = 0

    def on_outcome(self, outcome: Outcome) -> None:
        if outcome.accepted:
            self.versions[outcome.stream] = outcome.version
        else:
            self.rejected[outcome.code] = self.rejected.get(outcome.code, 0) + 1
        self._count += 1
        if self._count * 10 // self._total > len(self.tenths):
            self.tenths.append((time.monotonic(), self._usages()))


async def flow(servers: Servers, count: int, orders: int, url: str, pids: system.Pids) -> dict[str, Any]:
    usages: Callable[[], Mapping[str, ResourceUsage]] = lambda: resource_usages(pids())  # noqa: E731
    order_rate = await _orders(servers, url, orders)
    idle = usages()
    await asyncio.sleep(IDLE_S)
    idle_cpu = {name: (after.cpu_s - idle[name].cpu_s) / IDLE_S for name, after in usages().items()}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        applied_before = await _events_applied(client)
        before = usages()
        readings = Readings(count)
        recorder = Recorder(readings.commands, usages)
        pool = await connect_pool(servers.stores["telemetry"], schema="telemetry", read_only=True)
        telemetry = PostgresReadStore("telemetry", pool)
        try:
            await _send(servers, readings.devices(), lambda _: None)
            began = time.monotonic()
            await _send(servers, readings.messages(), recorder.on_outcome)
            decided = time.monotonic()
            await wait_until_applied([telemetry], recorder.versions, _ignore, no_progress_timeout_s=NO_PROGRESS_S)
            ended = time.monotonic()
        finally:
            pool.terminate()
        after = usages()
        applied_after = await _events_applied(client)
        differing = await _differing(client, readings)
        kept = [(await _get(client, f"/devices/bench-{n}"))["readings"] for n in range(DEVICES)]
    sent = readings.commands * AT_ONCE - REPEATED * min(DEVICES, readings.commands)
    cpu = {name: round(after[name].cpu_s - before[name].cpu_s, 2) for name in after}
    seconds = ended - began
    rate = sent / seconds
    return {
        "readings": {"sent": sent, "unique": readings.unique, "commands": readings.commands, "devices": DEVICES},
        "rejected": recorder.rejected,
        "kept": sum(one["kept"] for one in kept),
        "duplicates": sum(one["duplicates"] for one in kept),
        "sums": {"compared": len(readings.sums), "differing": differing},
        "orders_per_second": round(order_rate, 1),
        "readings_per_second": round(rate, 1),
        "readings_per_order": round(rate / order_rate, 2),
        "seconds": {"decided": round(decided - began, 2), "applied": round(seconds, 2)},
        "first_and_last_tenth": _tenths(recorder),
        "peak_mib_at_each_tenth": {
            name: [round(usage[name].peak_mib) for _, usage in recorder.tenths]
            for name in ("worker", "relay", "telemetry")
        },
        "cpu_seconds": cpu,
        "other_read_models": {
            name: {
                "events_applied": applied_after[name] - applied_before[name],
                "cpu_above_idle_ms_per_1000_readings": round((cpu[name] - idle_cpu[name] * seconds) / sent * 10**6, 2),
            }
            for name in OTHERS
        },
        "telemetry_cpu_ms_per_1000_readings": round(cpu["telemetry"] / sent * 10**6, 2),
        "foreign_message_us": _foreign_message(),
    }


async def _orders(servers: Servers, url: str, count: int) -> float:
    """Orders a second, end to end, into the read models that have them."""
    recorder = Recorder(count, dict)
    began = time.monotonic()
    await _send(servers, RetailYear(count).baskets(), recorder.on_outcome)
    async with open_read_stores(servers, url) as stores:
        with_orders = [store for store in stores.all if "orders" in named(store.name).kinds]
        visible = await wait_until_applied(with_orders, recorder.versions, _ignore, no_progress_timeout_s=NO_PROGRESS_S)
    return count / (max(visible.values()) - began)


async def _send(servers: Servers, commands: Iterator[CommandMessage], on_outcome: Callable[[Outcome], None]) -> None:
    await CommandSender(servers.rabbitmq_url, name="bench").send(commands, on_outcome)


def _ignore(_: str, __: int) -> None:
    """Progress that is not shown."""


async def _get(client: httpx.AsyncClient, path: str, **parameters: str) -> Any:
    response = await client.get(path, params=parameters)
    return json.loads(response.raise_for_status().text, parse_float=Decimal)


async def _events_applied(client: httpx.AsyncClient) -> dict[str, int]:
    return {one["projection"]: one["events_applied"] for one in (await _get(client, "/freshness"))["projections"]}


async def _differing(client: httpx.AsyncClient, readings: Readings) -> list[str]:
    """The sums that are not what Decimal says."""
    found = []
    for (device, metric), expected in readings.sums.items():
        answer = await _get(client, f"/devices/{device}/telemetry", metric=metric, granularity="day")
        total = Decimal(0)
        for bucket in answer["buckets"]:
            total = EXACT.add(total, Decimal(bucket["sum"]))
        if total != expected:
            found.append(f"{device} {metric}: {total}, not {expected}")
    return found


def _tenths(recorder: Recorder) -> dict[str, Any]:
    """The worker's CPU for each command in the first and in the last tenth: it must not grow with the streams."""
    if len(recorder.tenths) < 10:
        return {}
    cpu = [usage["worker"].cpu_s for _, usage in recorder.tenths]
    at = [when for when, _ in recorder.tenths]
    return {
        "worker_cpu_s": [round(cpu[1] - cpu[0], 2), round(cpu[-1] - cpu[-2], 2)],
        "seconds": [round(at[1] - at[0], 2), round(at[-1] - at[-2], 2)],
    }


def _foreign_message() -> dict[str, float]:
    """Microseconds of CPU that a message of 250 KB of telemetry costs analytics, with the header that names its kinds, and without."""
    readings = [f'"2026-01-01T00:00:{n % 60:02}Z"' for n in range(1000)], [f'"{n}.25"' for n in range(1000)]
    series = f'[{{"metric":"temp","at":[{",".join(readings[0])}],"value":[{",".join(readings[1])}]}}]'
    data = f'{{"device_id":"d","series":{series},"total":1000,"recorded_at":"2026-01-01T00:00:00Z"}}'
    one = (
        '{"specversion":"1.0","id":"devices/d@2","source":"s","type":"devices.telemetry-recorded","subject":"devices/d",'
        f'"time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{data},'
        '"streamversion":2,"schemaversion":1,"causationid":"c","correlationid":"c"}'
    )
    body = f"[{','.join([one] * 7)}]".encode()
    kinds = frozenset(named("analytics").kinds)
    assert kinds < EVERY_KIND
    nowhere: Any = None
    found = {}
    for name, headers in (("with_kinds", {topology.KINDS_HEADER: "devices"}), ("without", {})):
        delivery = Delivery("analytics.0", body, headers, "", "", "", None, False, 1, nowhere)
        began = time.process_time()
        for _ in range(200):
            assert not decode([delivery], {"analytics.0": 0}, kinds=kinds).arrived
        found[name] = round((time.process_time() - began) / 200 * 10**6, 1)
    return found | {"bytes": len(body)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--readings", type=int, default=1_000_000, help="readings sent (default 1,000,000)")
    parser.add_argument("--orders", type=int, default=4000, help="orders of the yardstick (default 4000)")
    options = parser.parse_args()
    began = time.time()
    with provide() as servers:
        if servers.origin == "environment":
            print("this needs empty servers: unset TIDEMARK_*_URL, it starts its own", file=sys.stderr)
            return 2

        async def bounded() -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE_S):
                run: system.Flow[dict[str, Any]] = partial(flow, servers, options.readings, options.orders)
                return await system.run(servers, Display(Console(quiet=True), None), run)

        found = uvloop.run(bounded())
    print(json.dumps(found | {"took_seconds": round(time.time() - began, 1)}, indent=2))
    return 0 if not found["sums"]["differing"] and found["kept"] == found["readings"]["unique"] else 1


if __name__ == "__main__":
    sys.exit(main())
