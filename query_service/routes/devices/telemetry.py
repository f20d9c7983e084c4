"""A device's readings: by minute, hour or day, and the latest of each metric. Sums and averages are computed in decimals by the store."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from litestar import Response
from litestar.params import QueryParameter

from query_service.http.conditional import conditional_response
from query_service.http.parameters import EARLIEST, LATEST, TIME_FORMAT, TimeParameter, parse_id, parse_time
from query_service.http.problems import InvalidParameterError, NotFoundError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.routes.devices.devices import DeviceId
from query_service.stores.postgres_store import PostgresStore
from shared.views.telemetry import LatestView, TelemetryView

MAX_BUCKETS: Final = 10_000
MINUTES_RANGE: Final = timedelta(days=7)
"""Buckets of a minute are computed from the readings themselves, so their range is limited."""


class Granularity(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def step(self) -> timedelta:
        return {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}[self.value]


From = Annotated[str | None, QueryParameter(name="from", max_length=40, description=f"{TIME_FORMAT}, inclusive.")]
Metric = Annotated[str, QueryParameter(description="The metric's name.")]
GranularityParameter = Annotated[Granularity, QueryParameter(description="The length of a bucket.")]

# A sum has few decimal places, and a quotient as many as its dividend: 30 are enough to round it to 12 correctly.
HOURS: Final = """
SELECT jsonb_build_object('start', replace(to_jsonb(start) #>> '{}', '+00:00', 'Z'), 'count', count,
    'min', min, 'max', max, 'sum', trim_scale(sum),
    'average', trim_scale(round(sum::numeric(300, 60) / count, 12)), 'last', last)::text AS item
FROM hours
WHERE device_id = $1 AND metric = $2 AND start >= $3 AND start < $4
ORDER BY start LIMIT $5
"""
DAYS: Final = """
SELECT jsonb_build_object('start', replace(to_jsonb(start) #>> '{}', '+00:00', 'Z'), 'count', count,
    'min', min, 'max', max, 'sum', trim_scale(sum),
    'average', trim_scale(round(sum::numeric(300, 60) / count, 12)), 'last', last)::text AS item
FROM days
WHERE device_id = $1 AND metric = $2 AND start >= $3 AND start < $4
ORDER BY start LIMIT $5
"""
MINUTES: Final = """
SELECT jsonb_build_object('start', replace(to_jsonb(start) #>> '{}', '+00:00', 'Z'), 'count', count,
    'min', min, 'max', max, 'sum', trim_scale(sum),
    'average', trim_scale(round(sum::numeric(300, 60) / count, 12)), 'last', last)::text AS item
FROM (
    SELECT date_trunc('minute', at, 'UTC') AS start, count(*) AS count, min(value) AS min, max(value) AS max,
        sum(value) AS sum, (array_agg(value ORDER BY at DESC))[1] AS last
    FROM readings
    WHERE device_id = $1 AND metric = $2 AND at >= $3 AND at < $4
    GROUP BY date_trunc('minute', at, 'UTC')
) AS minutes
ORDER BY start LIMIT $5
"""
STATEMENTS: Final = {Granularity.MINUTE: MINUTES, Granularity.HOUR: HOURS, Granularity.DAY: DAYS}

# known: whether the device has the metric, or had it when it was read.
METRIC: Final = """
SELECT d.version, m.metric->>'unit' AS unit,
    m.metric IS NOT NULL OR EXISTS (SELECT FROM series WHERE series.device_id = d.device_id AND series.metric = $2) AS known
FROM devices d
LEFT JOIN LATERAL (
    SELECT metric FROM jsonb_array_elements(d.metrics) AS listed (metric) WHERE metric->>'name' = $2
) AS m ON true
WHERE d.device_id = $1
"""
LATEST_OF_DEVICE: Final = """
SELECT d.version, jsonb_build_object('device_id', d.device_id, 'items', coalesce((
    SELECT jsonb_agg(jsonb_build_object('metric', s.metric, 'unit', (
        SELECT metric->>'unit' FROM jsonb_array_elements(d.metrics) AS listed (metric) WHERE metric->>'name' = s.metric
    ), 'at', replace(to_jsonb(s.last_at) #>> '{}', '+00:00', 'Z'), 'value', s.last, 'alert', CASE
        WHEN s.outside_at IS NULL THEN NULL
        WHEN s.outside_at = s.last_at AND d.status = 'active'
            AND d.metrics @> jsonb_build_array(jsonb_build_object('name', s.metric)) THEN 'raised'
        ELSE 'cleared'
    END) ORDER BY s.metric)
    FROM series s WHERE s.device_id = d.device_id), '[]'::jsonb))::text AS body
FROM devices d WHERE d.device_id = $1
"""


@read_route(
    "/devices/{device_id:str}/telemetry",
    needs="queries:devices",
    one=True,
    tags=["devices"],
    summary="A metric's readings by minute, hour or day",
)
async def telemetry(
    request: QueryRequest,
    device_id: DeviceId,
    metric: Metric,
    from_: From = None,
    to: TimeParameter = None,
    granularity: GranularityParameter = Granularity.HOUR,
) -> Response[TelemetryView]:
    """The buckets (UTC) that begin at or after `from` and before `to`: at most 10,000; with minutes `from` and `to` are needed, at most
    seven days apart.

    Each reading counts once, in the bucket of its own time, whenever it came. `sum` is exact; read it as a decimal, not as a double.
    """
    parse_id("metric", metric)
    since, until = _edge("from", from_, granularity, EARLIEST), _edge("to", to, granularity, LATEST)
    if since > until:
        raise InvalidParameterError("to", f"{to} lies before from")
    if granularity is Granularity.MINUTE and until - since > MINUTES_RANGE:
        name = "to" if from_ and not to else "from"
        raise InvalidParameterError(
            name, "buckets of a minute need both `from` and `to`, at most seven days apart; or choose hour or day"
        )
    store, as_of = await request.read(request.stores.postgres("telemetry"))
    unit, version = await _unit(store, device_id, metric, as_of)
    rows = await store.fetch(STATEMENTS[granularity], device_id, metric, since, until, MAX_BUCKETS + 1)
    if len(rows) > MAX_BUCKETS:
        raise InvalidParameterError("from", f"there are more than {MAX_BUCKETS} buckets; choose a shorter range")
    head = TelemetryView(device_id=device_id, metric=metric, unit=unit, granularity=granularity, buckets=[])
    members = head.model_dump_json(exclude={"buckets"})
    body = f'{members[:-1]},"buckets":[{",".join(row["item"] for row in rows)}]}}'
    return conditional_response(request, body.encode(), as_of, version)


@read_route(
    "/devices/{device_id:str}/latest",
    needs="queries:devices",
    one=True,
    tags=["devices"],
    summary="The latest value of each metric",
)
async def latest(request: QueryRequest, device_id: DeviceId) -> Response[LatestView]:
    """The reading with the latest time of each metric, whenever it came."""
    store, as_of = await request.read(request.stores.postgres("telemetry"))
    row = await store.fetchrow(LATEST_OF_DEVICE, device_id)
    if row is None:
        raise NotFoundError("device", device_id, as_of)
    return conditional_response(request, row["body"].encode(), as_of, row["version"])


async def _unit(store: PostgresStore, device_id: str, metric: str, as_of: Any) -> tuple[str | None, int]:
    """The metric's unit, None if the device does not have the metric any more, and the device's version. Raises NotFoundError."""
    row = await store.fetchrow(METRIC, device_id, metric)
    if row is None:
        raise NotFoundError("device", device_id, as_of)
    if not row["known"]:
        raise NotFoundError("metric", metric, as_of)
    return row["unit"], row["version"]


def _edge(name: str, value: str | None, granularity: Granularity, open_end: datetime) -> datetime:
    """The start of the first bucket that begins at this time or later."""
    if value is None:
        return open_end
    time = parse_time(name, value)
    begun = (time - EARLIEST) % granularity.step
    try:
        return time if not begun else time - begun + granularity.step
    except OverflowError:
        return LATEST


ROUTES: Final = (telemetry, latest)
