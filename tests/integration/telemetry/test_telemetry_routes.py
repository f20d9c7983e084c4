"""What dashboards get: buckets with exact sums, the latest values, the fleet, and alerts."""

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from deploy.servers.provide import Servers
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores.postgres_store import PostgresStore
from tests import devices, shop
from tests.devices import NOON, Reading
from tests.integration.telemetry.conftest import SCHEMA, Telemetry
from tests.openapi import checked

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NEEDS_RANGE = "buckets of a minute need both `from` and `to`, at most seven days apart; or choose hour or day"


class Client:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, code: int = 200, **parameters: Any) -> Any:
        """The answer, its numbers as Decimals."""
        answer = await self._client.get(path, params={name.rstrip("_"): value for name, value in parameters.items()})
        assert answer.status_code == code, answer.text
        return json.loads(answer.text, parse_float=Decimal)


@pytest.fixture
async def client(telemetry: Telemetry, servers: Servers) -> AsyncIterator[Client]:
    app = create_app(Stores(PostgresStore("telemetry", servers.stores["telemetry"], SCHEMA)))
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query", event_hooks=checked(app)) as http:
        yield Client(http)
    await app.state.stores.close()


async def with_readings(telemetry: Telemetry, *readings: Reading, device_id: str = "d-1") -> None:
    facts = devices.registered(device_id), devices.recorded(*readings, device_id=device_id)
    await telemetry.commit(shop.run(f"devices/{device_id}", *facts))


async def test_buckets_have_exact_sums_by_minute_hour_and_day(telemetry: Telemetry, client: Client) -> None:
    values = ["0.1", "0.2", "-7", "100000000000000000.000000000000000001", "3"]
    times = [NOON, NOON + timedelta(seconds=30), NOON + MINUTE, NOON + HOUR, NOON + timedelta(days=1)]
    readings = [("wind", at, value) for at, value in zip(times, values, strict=True)]
    random.Random(1).shuffle(readings)
    await with_readings(telemetry, *readings)
    path = "/devices/d-1/telemetry"
    span: dict[str, Any] = {"from_": "2026-03-31", "to": "2026-04-02"}
    minutes = await client.get(path, metric="wind", granularity="minute", **span)
    assert (minutes["device_id"], minutes["metric"], minutes["unit"]) == ("d-1", "wind", "m/s")
    assert minutes["buckets"][0] == {
        **{"start": "2026-03-31T12:00:00Z", "count": 2, "min": Decimal("0.1"), "max": Decimal("0.2")},
        **{"sum": Decimal("0.3"), "average": Decimal("0.15"), "last": Decimal("0.2")},
    }
    assert [bucket["count"] for bucket in minutes["buckets"]] == [2, 1, 1, 1]
    hours = await client.get(path, metric="wind")
    assert [bucket["sum"] for bucket in hours["buckets"]] == [Decimal("-6.7"), Decimal(values[3]), 3]
    assert hours["buckets"][0]["average"] == Decimal("-2.233333333333")
    days = await client.get(path, metric="wind", granularity="day", to="2026-04-01")
    [day] = days["buckets"]
    assert day["sum"] == Decimal("99999999999999993.300000000000000001")
    assert (day["min"], day["last"]) == (-7, Decimal(values[3]))


async def test_a_bucket_is_in_the_range_if_it_begins_there(telemetry: Telemetry, client: Client) -> None:
    await with_readings(telemetry, *(("wind", NOON + n * HOUR, f"{n}") for n in range(5)))
    found = await client.get(
        "/devices/d-1/telemetry", metric="wind", from_="2026-03-31T12:00:01Z", to="2026-03-31T15:00:00Z"
    )
    assert [bucket["sum"] for bucket in found["buckets"]] == [1, 2]
    for parameters in (
        {"metric": "wind", "granularity": "minute"},
        {"metric": "wind", "granularity": "minute", "from_": "2026-03-01", "to": "2026-03-08T00:00:01Z"},
        {"metric": "wind", "from_": "2026-03-02", "to": "2026-03-01"},
        {"metric": "wind", "granularity": "week"},
        {"metric": "no such"},
        {},
    ):
        assert (await client.get("/devices/d-1/telemetry", 400, **parameters))["status"] == 400
    for given, field in (({}, "from"), ({"to": "2026-03-08"}, "from"), ({"from_": "2026-03-08"}, "to")):
        refused = await client.get("/devices/d-1/telemetry", 400, metric="wind", granularity="minute", **given)
        assert refused["errors"] == [{"field": field, "message": NEEDS_RANGE}]
    assert (await client.get("/devices/d-1/telemetry", 404, metric="rain"))["code"] == "metric-not-found"
    assert (await client.get("/devices/d-2/telemetry", 404, metric="wind"))["code"] == "device-not-found"
    for edge in ("0001-01-01", "9999-12-31T23:59:59Z"):
        assert (await client.get("/devices/d-1/telemetry", metric="wind", from_=edge))["metric"] == "wind"


async def test_a_device_shows_its_metrics_and_what_became_of_its_readings(telemetry: Telemetry, client: Client) -> None:
    await with_readings(telemetry, ("temp", NOON, "1"), ("temp", NOON, "1"), ("temp", NOON, "2"), ("wind", NOON, "3"))
    old = devices.recorded(("temp", datetime(2025, 1, 1, tzinfo=UTC), "1"), total=5)
    await telemetry.store.forget_before(NOON)
    await telemetry.commit(shop.run("devices/d-1", old, expected=2))
    found = await client.get("/devices/d-1")
    assert found["readings"] == {"recorded": 5, "kept": 2, "duplicates": 1, "conflicting": 1, "expired": 1}
    assert found["metrics"][0] == {"name": "temp", "unit": "°C", "low": -10, "high": Decimal("30.5")}
    assert found["metrics"][1] == {"name": "wind", "unit": "m/s", "low": None, "high": None}
    assert (found["status"], found["site"], found["model"], found["version"]) == ("active", "north", "m-1", 3)
    latest = await client.get("/devices/d-1/latest")
    assert latest["items"][0] == {
        **{"metric": "temp", "unit": "°C", "at": "2026-03-31T12:00:00Z", "value": 1, "alert": None},
    }
    await client.get("/devices/d-2", 404)
    await client.get("/devices/d-2/latest", 404)


async def test_devices_are_listed_by_site_model_and_status(telemetry: Telemetry, client: Client) -> None:
    for n in range(5):
        facts = [devices.registered(f"d-{n}"), devices.configured(f"d-{n}"), devices.retired(f"d-{n}")][: n % 3 + 1]
        await telemetry.commit(shop.run(f"devices/d-{n}", *facts))
    first = await client.get("/devices", limit=3)
    rest = await client.get("/devices", limit=3, cursor=first["next_cursor"])
    assert [item["device_id"] for item in first["items"] + rest["items"]] == [f"d-{n}" for n in range(5)]
    assert rest["next_cursor"] is None
    assert [item["device_id"] for item in (await client.get("/devices", site="north"))["items"]] == ["d-0", "d-3"]
    assert [item["device_id"] for item in (await client.get("/devices", status="retired"))["items"]] == ["d-2"]
    assert (await client.get("/devices", model="m-9"))["items"] == []


async def test_the_fleet_is_counted_by_site_and_model(telemetry: Telemetry, client: Client) -> None:
    await with_readings(telemetry, ("temp", NOON, "31"), ("wind", NOON + HOUR, "1"))
    await with_readings(telemetry, ("temp", NOON, "30"), device_id="d-2")
    await telemetry.commit(shop.run("devices/d-3", devices.registered("d-3", site=None)))
    found = await client.get("/fleet")
    assert found["items"] == [
        {"site": None, "model": "m-1", "devices": 1, "active": 1, "readings": 0, "raised": 0, "last_at": None},
        {
            **{"site": "north", "model": "m-1", "devices": 2, "active": 2, "readings": 3, "raised": 1},
            "last_at": "2026-03-31T13:00:00Z",
        },
    ]
    page = await client.get("/fleet", limit=1)
    assert (await client.get("/fleet", limit=1, cursor=page["next_cursor"]))["items"] == found["items"][1:]
    assert len((await client.get("/fleet", site="north", model="m-1"))["items"]) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_alerts_are_the_same_in_whatever_order_readings_arrive(
    telemetry: Telemetry, client: Client, seed: int
) -> None:
    """A story in time order, told in any order, and cut anywhere: the alert is that of its latest reading."""
    values = ["20", "31", "20", "-11", "-12"]
    times = [NOON + n * MINUTE for n in range(len(values))]
    story = list(zip(times, values, strict=True))
    rng = random.Random(seed)
    rng.shuffle(story)
    await telemetry.commit(shop.run("devices/d-1", devices.registered()))
    version = 1
    while story:
        size = rng.randint(1, 3)
        batch, story = story[:size], story[size:]
        facts = devices.recorded(*(("temp", at, value) for at, value in batch))
        await telemetry.commit(shop.run("devices/d-1", facts, expected=version))
        version += 1
    [alert] = (await client.get("/alerts", state="raised"))["items"]
    assert (alert["state"], alert["side"], alert["outside"]) == ("raised", "low", -12)
    assert (alert["since"], alert["inside_at"]) == ("2026-03-31T12:03:00Z", "2026-03-31T12:02:00Z")
    later = devices.recorded(("temp", NOON + HOUR, "30.5"), ("temp", NOON + 2 * HOUR, "-10"))
    await telemetry.commit(shop.run("devices/d-1", later, expected=version))
    assert (await client.get("/alerts", state="raised"))["items"] == []
    [alert] = (await client.get("/alerts"))["items"]
    assert (alert["state"], alert["since"]) == ("cleared", "2026-03-31T13:00:00Z")
    assert alert["outside_at"] == "2026-03-31T12:04:00Z"
    assert (await client.get("/alerts", state="cleared"))["items"] == [alert]


async def test_an_alert_that_no_reading_can_clear_any_more_is_cleared_by_the_device(
    telemetry: Telemetry, client: Client
) -> None:
    """Of a retired device, and of a metric that was removed; everywhere the same, and a metric that is back has its alert again."""
    later = NOON + HOUR
    for device_id in ("d-1", "d-2"):
        await with_readings(telemetry, ("temp", NOON - MINUTE, "1"), ("temp", NOON, "31"), device_id=device_id)
    facts = devices.registered("d-3"), devices.recorded(("temp", NOON, "31"), device_id="d-3")
    await telemetry.commit(shop.run("devices/d-3", *facts))
    whole = msgspec.structs.replace(devices.configured("d-2", model="m-1", site="north"), configured_at=later)
    without = msgspec.structs.replace(whole, metrics=devices.METRICS[1:])
    await telemetry.commit(
        shop.run("devices/d-1", msgspec.structs.replace(devices.retired(), retired_at=later), expected=2),
        shop.run("devices/d-2", without, expected=2),
    )
    [raised] = (await client.get("/alerts", state="raised"))["items"]
    assert raised["device_id"] == "d-3"
    cleared = (await client.get("/alerts", state="cleared"))["items"]
    assert [(one["device_id"], one["state"], one["since"]) for one in cleared] == [
        ("d-1", "cleared", "2026-03-31T13:00:00Z"),
        ("d-2", "cleared", "2026-03-31T13:00:00Z"),
    ]
    [group] = (await client.get("/fleet"))["items"]
    assert (group["active"], group["raised"]) == (2, 1)
    states = {name: (await client.get(f"/devices/{name}/latest"))["items"][0] for name in ("d-1", "d-2", "d-3")}
    assert {name: latest["alert"] for name, latest in states.items()} == {
        **{"d-1": "cleared", "d-2": "cleared", "d-3": "raised"}
    }
    assert (states["d-2"]["unit"], (await client.get("/devices/d-2/telemetry", metric="temp"))["unit"]) == (None, None)
    assert await telemetry.problems() == {}
    await telemetry.commit(shop.run("devices/d-2", whole, expected=3))
    again = (await client.get("/alerts", state="raised"))["items"]
    assert [(one["device_id"], one["since"]) for one in again] == [
        ("d-2", "2026-03-31T12:00:00Z"),
        ("d-3", "2026-03-31T12:00:00Z"),
    ]
    [group] = (await client.get("/fleet"))["items"]
    assert group["raised"] == 2
