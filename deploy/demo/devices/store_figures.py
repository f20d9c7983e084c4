"""The figures that telemetry shows, read through the query service like a dashboard does, with all their digits."""

import json
from decimal import Context, Decimal
from functools import reduce
from typing import Any, Final

import httpx

from deploy.demo.devices.expected_figures import HOURLY, Figures
from deploy.demo.read_stores import retry_while_unavailable

EXACT: Final = Context(prec=60)
HALVES: Final = (("2012-01-01", "2013-07-01"), ("2013-07-01", "2015-01-01"))
"""The year in two parts: an answer has at most 10,000 buckets."""


class Telemetry:
    """The query service, its numbers as Decimals."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **parameters: str | int) -> Any:
        async def request() -> Any:
            response = await self._client.get(path, params=parameters)
            return json.loads(response.raise_for_status().text, parse_float=Decimal)

        return await retry_while_unavailable(request)

    async def buckets(self, station: str, metric: str, granularity: str) -> list[Any]:
        found: list[Any] = []
        for begin, end in HALVES:
            span = {"from": begin, "to": end}
            path = f"/devices/{station}/telemetry"
            found += (await self.get(path, metric=metric, granularity=granularity, **span))["buckets"]
        return found


async def store_figures(telemetry: Telemetry, metrics: tuple[str, ...], stations: tuple[str, ...]) -> Figures:
    latest = {
        (station, item["metric"]): Decimal(item["value"])
        for station in stations
        for item in (await telemetry.get(f"/devices/{station}/latest"))["items"]
    }
    found: Figures = {}
    for metric in metrics:
        for station in sorted(stations):
            days = await telemetry.buckets(station, metric, "day")
            found[f"{metric} {station} readings"] = sum(day["count"] for day in days)
            found[f"{metric} {station} sum"] = reduce(EXACT.add, (Decimal(day["sum"]) for day in days), Decimal(0))
            found[f"{metric} {station} range"] = [
                Decimal(min(day["min"] for day in days)),
                Decimal(max(day["max"] for day in days)),
            ]
            found[f"{metric} {station} latest"] = latest[station, metric]
    hours = await telemetry.buckets(*HOURLY, "hour")
    found[" ".join((*HOURLY, "by hour"))] = [(hour["start"], Decimal(hour["sum"])) for hour in hours]
    counts = [(await telemetry.get(f"/devices/{station}"))["readings"] for station in stations]
    found["readings kept"] = sum(one["kept"] for one in counts)
    found["duplicates"] = sum(one["duplicates"] for one in counts)
    found["conflicting readings"] = sum(one["conflicting"] for one in counts)
    for state in ("raised", "cleared"):
        items = (await telemetry.get("/alerts", state=state, limit=200))["items"]
        found[f"alerts {state}"] = sum(item["device_id"] in stations for item in items)
    return found
