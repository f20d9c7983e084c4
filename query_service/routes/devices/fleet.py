"""The fleet by site and model, and alerts.

An alert follows the latest reading by its time, so it does not depend on the order in which readings arrive: it is raised while that
reading is outside the limits that its metric had when it was recorded, and cleared once it is inside, the device is retired, or the device
is configured without the metric: then no reading can follow that would clear it. The latter two are facts of the device, joined when read.
"""

from typing import Annotated, Final

from litestar import Response
from litestar.params import QueryParameter

from query_service.http.conditional import conditional_response
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.routes.devices.devices import Model, Site
from shared.views.telemetry import AlertState, AlertView, FleetGroup

State = Annotated[AlertState | None, QueryParameter(name="state", description="Only alerts in this state.")]


class GroupKey(SortKey, frozen=True):
    site: str
    model: str


class AlertKey(SortKey, frozen=True):
    device_id: str
    metric: str


# A device without a site sorts first, as the empty one.
FLEET: Final = """
SELECT grouped.place, grouped.model, jsonb_build_object('site', nullif(grouped.place, ''), 'model', grouped.model,
    'devices', grouped.devices, 'active', grouped.active, 'readings', grouped.readings, 'raised', grouped.raised,
    'last_at', replace(to_jsonb(grouped.last_at) #>> '{}', '+00:00', 'Z'))::text AS item
FROM (
    SELECT coalesce(d.site, '') AS place, d.model, count(*) AS devices, count(*) FILTER (WHERE d.status = 'active') AS active,
        sum(d.readings)::bigint AS readings, max(s.last_at) AS last_at,
        coalesce(sum(s.raised), 0)::bigint AS raised
    FROM devices d
    LEFT JOIN (
        SELECT series.device_id, max(last_at) AS last_at, count(*) FILTER (
            WHERE outside_at = last_at AND status = 'active'
                AND metrics @> jsonb_build_array(jsonb_build_object('name', metric))
        ) AS raised
        FROM series JOIN devices USING (device_id) GROUP BY series.device_id
    ) AS s USING (device_id)
    WHERE ($1::text IS NULL OR d.site = $1) AND ($2::text IS NULL OR d.model = $2)
    GROUP BY coalesce(d.site, ''), d.model
) AS grouped
WHERE (grouped.place, grouped.model) > ($3, $4)
ORDER BY grouped.place, grouped.model LIMIT $5
"""
# A raised alert's run begins after the latest reading inside the limits, a cleared one's after the latest reading outside of them; if there
# is none, the alert was cleared by the retirement, which is the last change of a device, or by a configuration.
ALERTS: Final = """
SELECT s.device_id, s.metric, jsonb_build_object('device_id', s.device_id, 'metric', s.metric, 'model', d.model, 'site', d.site,
    'state', CASE WHEN now.raised THEN 'raised' ELSE 'cleared' END,
    'since', replace(to_jsonb(coalesce(run.since, d.updated_at)) #>> '{}', '+00:00', 'Z'),
    'side', CASE WHEN s.outside_side < 0 THEN 'low' ELSE 'high' END,
    'outside_at', replace(to_jsonb(s.outside_at) #>> '{}', '+00:00', 'Z'), 'outside', s.outside,
    'inside_at', replace(to_jsonb(s.inside_at) #>> '{}', '+00:00', 'Z'),
    'last_at', replace(to_jsonb(s.last_at) #>> '{}', '+00:00', 'Z'), 'last', s.last)::text AS item
FROM series s
JOIN devices d USING (device_id)
CROSS JOIN LATERAL (
    SELECT s.outside_at = s.last_at AND d.status = 'active'
        AND d.metrics @> jsonb_build_array(jsonb_build_object('name', s.metric)) AS raised
) AS now
LEFT JOIN LATERAL (
    SELECT at AS since FROM readings r
    WHERE r.device_id = s.device_id AND r.metric = s.metric
        AND r.at > coalesce(CASE WHEN now.raised THEN s.inside_at ELSE s.outside_at END, '-infinity'::timestamptz)
    ORDER BY r.at LIMIT 1
) AS run ON true
WHERE s.outside_at IS NOT NULL AND (s.device_id, s.metric) > ($2, $3)
    AND ($1::text IS NULL OR now.raised = ($1 = 'raised'))
ORDER BY s.device_id, s.metric LIMIT $4
"""


@read_route("/fleet", needs="queries:devices", tags=["devices"], summary="The fleet by site and model")
async def fleet(
    request: QueryRequest,
    site: Site = None,
    model: Model = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[FleetGroup]]:
    """Each site and model: how many devices and readings, how many alerts are raised, and the latest reading."""
    query = ListQuery("fleet", site, model)
    after = query.key(cursor, GroupKey) if cursor else GroupKey("", "")
    store, as_of = await request.read(request.stores.postgres("telemetry"))
    rows = await store.fetch(FLEET, site, model, after.site, after.model, limit + 1)
    following = None
    if len(rows) > limit:
        following = query.cursor(GroupKey(rows[limit - 1]["place"], rows[limit - 1]["model"]))
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


@read_route("/alerts", needs="queries:devices", tags=["devices"], summary="Alerts, by device and metric")
async def alerts(
    request: QueryRequest, state_: State = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[Page[AlertView]]:
    """The alert of each metric that has a reading outside its limits; `state` follows the latest reading, by its own time.

    A reading is judged by the limits that its metric had when it was recorded: other limits apply to later readings. Alerts of retired
    devices and of metrics that the device does not have any more are cleared; `/fleet` counts the same ones as raised.
    """
    query = ListQuery("alerts", state_)
    after = query.key(cursor, AlertKey) if cursor else AlertKey("", "")
    store, as_of = await request.read(request.stores.postgres("telemetry"))
    rows = await store.fetch(ALERTS, state_, after.device_id, after.metric, limit + 1)
    following = None
    if len(rows) > limit:
        following = query.cursor(AlertKey(rows[limit - 1]["device_id"], rows[limit - 1]["metric"]))
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


ROUTES: Final = (fleet, alerts)
