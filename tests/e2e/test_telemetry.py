"""A device's readings from the message to every answer; and a rebuild of telemetry under load that loses none."""

import asyncio
import json
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import reduce
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from rich.console import Console

from deploy.cli.projections.commands import compare_generations
from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.messages.control import Activate, Rebuild
from shared.views.analytics import Keys
from tests.e2e.bus import encode, envelope
from tests.e2e.generations import done, until_ready
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)

METRICS = [{"name": "temp", "unit": "°C", "high": 30}, {"name": "wind", "unit": "m/s"}]
EXACT = Context(prec=100)
START = datetime(2021, 3, 1, tzinfo=UTC)
QUICK = Options(recheck_interval_s=0.05, stalled_s=0.2, max_wait_s=5)
QUIET = Display(Console(quiet=True), None)
WHO = {"actor": "a test", "reason": "to see it"}


async def register(system: System, device_id: str) -> None:
    device = {"device_id": device_id, "model": "m-1", "site": device_id, "metrics": METRICS}
    await system.bus.accepted("devices.register-device", device)


def readings(count: int, seed: int = 1) -> list[dict[str, str]]:
    rng = random.Random(seed)
    return [
        {
            "metric": rng.choice(["temp", "wind"]),
            "at": (START + timedelta(seconds=37 * n)).isoformat(),
            "value": f"{rng.randint(-99_999, 99_999)}.{rng.randint(1, 10**9)}",
        }
        for n in range(count)
    ]


async def exactly(system: System, path: str, **parameters: str) -> Any:
    response = await system.queries.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


def sums(*given: Sequence[dict[str, str]]) -> dict[str, Decimal]:
    """The first reading of each metric and time counts."""
    first: dict[tuple[str, str], str] = {}
    for reading in (one for each in given for one in each):
        first.setdefault((reading["metric"], reading["at"]), reading["value"])
    return {
        name: exact_sum(value for (metric, _), value in first.items() if metric == name) for name in ("temp", "wind")
    }


def exact_sum(values: Iterable[str | Decimal]) -> Decimal:
    return reduce(EXACT.add, map(Decimal, values), Decimal())


async def test_readings_that_came_over_the_bus_and_over_http_are_summed_to_the_last_digit(system: System) -> None:
    await register(system, "probe")
    text = '{"readings": [{"metric": "temp", "at": "2021-03-01T00:00:%02dZ", "value": %s}]}'
    numbers = ["0.1000000000000000055", "0.20", "12345678901234567.000000000000000001"]
    numbers[0] = "0.100000000000000055"
    head = encode(envelope("devices.record-telemetry", {}, subject="probe")).decode()
    assert '"data":{}' in head.replace(" ", "")
    body = head.replace(" ", "").replace('"data":{}', f'"data":{text % (0, numbers[0])}')
    answer = json.loads(await system.bus.ask(body.encode(), routing_key="devices.record-telemetry"))
    assert answer["data"]["stream"] == "devices/probe", answer
    for second, number in enumerate(numbers[1:], 1):
        response = await system.commands.post(
            "/commands/devices.record-telemetry",
            params={"subject": "probe"},
            content=text % (second, number),
            headers={"Prefer": "wait=10", "Content-Type": "application/json"},
        )
        assert response.status_code == 200, response.text
    own = {"Tidemark-Consistency": response.headers["tidemark-consistency"], "Prefer": "wait=10"}
    shown = await system.queries.get(
        "/devices/probe/telemetry", params={"metric": "temp", "granularity": "day"}, headers=own
    )
    [bucket] = json.loads(shown.text, parse_float=Decimal)["buckets"]
    assert (bucket["count"], bucket["sum"]) == (3, exact_sum(numbers))
    assert bucket["last"] == Decimal(numbers[2])
    [alert] = [
        one for one in (await exactly(system, "/alerts", state="raised"))["items"] if one["device_id"] == "probe"
    ]
    assert (alert["side"], alert["since"]) == ("high", "2021-03-01T00:00:02Z")
    refused = await system.bus.command(
        "devices.record-telemetry",
        {"readings": [{"metric": "rain", "at": START.isoformat(), "value": 1}]},
        subject="probe",
    )
    assert refused["code"] == "unknown-metric"


async def _applied(system: System) -> dict[str, int]:
    return {one["projection"]: one["events_applied"] for one in (await system.get("/freshness"))["projections"]}


async def _positions_of_devices(system: System) -> int:
    """Streams of devices that the other read models know."""
    count: int = 0
    for name in ("summary", "search"):
        connection = await asyncpg.connect(system.servers.stores[name], server_settings={"search_path": name})
        count += await connection.fetchval("SELECT count(*) FROM positions WHERE stream LIKE 'devices/%'")
        await connection.close()
    async with Redis.from_url(system.servers.stores["analytics"], decode_responses=True) as redis:
        positions: Any = await redis.hkeys(Keys().positions)
    return count + len([stream for stream in positions if stream.startswith("devices/")])


async def test_telemetry_is_rebuilt_compared_and_activated_while_readings_come_in_and_others_do_nothing(
    system: System,
) -> None:
    devices = [f"rebuilt-{n}" for n in range(3)]
    for device_id in devices:
        await register(system, device_id)
    before = await _applied(system)
    sent: dict[str, list[dict[str, str]]] = {device_id: [] for device_id in devices}
    pending = {device_id: readings(900, seed) + readings(60, seed) for seed, device_id in enumerate(devices)}
    for each in pending.values():
        random.Random(5).shuffle(each)
    stop = asyncio.Event()

    async def record() -> None:
        while any(pending.values()) and not stop.is_set():
            for device_id in devices:
                some, pending[device_id] = pending[device_id][:40], pending[device_id][40:]
                if some:
                    await system.bus.accepted("devices.record-telemetry", {"readings": some}, subject=device_id)
                    sent[device_id] += some

    recording = asyncio.create_task(record())
    try:
        await done(system.bus, Rebuild(projection="telemetry", generation=2, **WHO))
        await until_ready(system.servers, "telemetry", 2)
        await recording
    finally:
        stop.set()
        await asyncio.gather(recording, return_exceptions=True)
    settings = settings_for(system.servers)
    versions = {
        device_id: (await system.bus.command("devices.retire-device", {}, subject=device_id)) for device_id in devices
    }
    headers = {
        "Tidemark-Consistency": ",".join(f"devices/{name}@{one['version']}" for name, one in versions.items()),
        "Prefer": "wait=10",
    }
    assert (await system.queries.get("/fleet", headers=headers)).status_code == 200
    compared = await compare_generations(settings, "telemetry", 2, 1, 5)
    assert compared.equal, compared
    rows = {part.name: part.rows for part in compared.parts}
    assert rows["readings"] == rows["readings"][:1] * 2
    await done(system.bus, Activate(projection="telemetry", generation=2, **WHO))
    for device_id in devices:
        for metric, expected in sums(sent[device_id]).items():
            found = await exactly(system, f"/devices/{device_id}/telemetry", metric=metric, granularity="hour")
            assert exact_sum(bucket["sum"] for bucket in found["buckets"]) == expected
        counts = (await exactly(system, f"/devices/{device_id}"))["readings"]
        assert counts == {"recorded": 960, "kept": 900, "duplicates": 60, "conflicting": 0, "expired": 0}
    report = await verify(settings, QUICK, QUIET, projections=["telemetry"])
    assert report.as_json()["findings"] == [], report.as_json()
    after = await _applied(system)
    assert after["telemetry"] - before["telemetry"] >= 3 * 24
    assert {name: after[name] - before[name] for name in ("summary", "analytics", "search")} == dict.fromkeys(
        ("summary", "analytics", "search"), 0
    )
    assert await _positions_of_devices(system) == 0
