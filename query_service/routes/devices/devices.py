"""Devices: one, and lists."""

from typing import Annotated, Final

from litestar import Response
from litestar.params import PathParameter, QueryParameter

from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument, document
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from shared.views.telemetry import DeviceStatus, DeviceSummary, DeviceView

DeviceId = Annotated[str, PathParameter(description="The device's id, as chosen by the sender of the command.")]
Site = Annotated[str | None, QueryParameter(description="Only this site; exact spelling.", max_length=200)]
Model = Annotated[str | None, QueryParameter(description="Only this model; exact spelling.", max_length=200)]
Status = Annotated[DeviceStatus | None, QueryParameter(description="Only devices with this status.")]


class DeviceKey(SortKey, frozen=True):
    device_id: str


DEVICE: Final = """
SELECT d.version, jsonb_build_object(
    'device_id', d.device_id, 'model', d.model, 'site', d.site, 'status', d.status,
    'metrics', (
        SELECT jsonb_agg(jsonb_build_object('name', metric->>'name', 'unit', metric->>'unit',
            'low', (metric->>'low')::numeric, 'high', (metric->>'high')::numeric) ORDER BY place)
        FROM jsonb_array_elements(d.metrics) WITH ORDINALITY AS listed (metric, place)
    ),
    'readings', jsonb_build_object('recorded', d.readings, 'kept', counted.kept, 'duplicates', counted.duplicates,
        'conflicting', counted.conflicting,
        'expired', d.readings - counted.kept - counted.duplicates - counted.conflicting),
    'registered_at', replace(to_jsonb(d.registered_at) #>> '{}', '+00:00', 'Z'),
    'recorded_at', replace(to_jsonb(d.recorded_at) #>> '{}', '+00:00', 'Z'),
    'updated_at', replace(to_jsonb(d.updated_at) #>> '{}', '+00:00', 'Z'), 'version', d.version)::text AS body
FROM devices d
CROSS JOIN LATERAL (
    SELECT coalesce(sum(count), 0)::bigint AS kept, coalesce(sum(duplicates), 0)::bigint AS duplicates,
        coalesce(sum(conflicting), 0)::bigint AS conflicting
    FROM days WHERE days.device_id = d.device_id
) AS counted
WHERE d.device_id = $1
"""
LIST: Final = """
SELECT device_id, jsonb_build_object(
    'device_id', device_id, 'model', model, 'site', site, 'status', status, 'readings', readings,
    'recorded_at', replace(to_jsonb(recorded_at) #>> '{}', '+00:00', 'Z'), 'version', version)::text AS item
FROM devices
WHERE ($1::text IS NULL OR site = $1) AND ($2::text IS NULL OR model = $2) AND ($3::text IS NULL OR status = $3)
    AND device_id > $4
ORDER BY device_id LIMIT $5
"""


@read_route("/devices/{device_id:str}", needs="queries:devices", one=True, tags=["devices"], summary="One device")
async def device(request: QueryRequest, device_id: DeviceId) -> Response[DeviceView]:
    """One device: its metrics with their limits, and what became of its readings."""
    return await document(request, request.stores.postgres("telemetry"), DEVICE, "device", device_id)


@read_route("/devices", needs="queries:devices", tags=["devices"], summary="Devices, by id")
async def devices(
    request: QueryRequest,
    site: Site = None,
    model: Model = None,
    status: Status = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[DeviceSummary]]:
    """Devices in the order of their ids."""
    query = ListQuery("devices", site, model, status)
    after = query.key(cursor, DeviceKey).device_id if cursor else ""
    telemetry, as_of = await request.read(request.stores.postgres("telemetry"))
    rows = await telemetry.fetch(LIST, site, model, status, after, limit + 1)
    following = query.cursor(DeviceKey(rows[limit - 1]["device_id"])) if len(rows) > limit else None
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


STORED: Final = {("telemetry", "devices"): StoredDocument(DEVICE, "queries:devices")}
ROUTES: Final = (device, devices)
