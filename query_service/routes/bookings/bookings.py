"""Bookings: one booking, its history, and lists by doctor, patient, status and day. ``doctors`` and ``patients`` use ``list_bookings``."""

from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from query_service.bookings.local_days import LOCAL_FORMAT, start_of
from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument, history_page
from query_service.http.held import HeldBy, why_held, with_letter
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import EARLIEST, LATEST, TIME_FORMAT, BookingId, IdParameter, parse_date, parse_id
from query_service.http.problems import InvalidParameterError, NotFoundError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.stores.postgres_store import PostgresStore
from shared.contracts.bookings import UTC_ZONE, BookingStatus
from shared.views.bookings import BookingView
from shared.views.summary import HistoryEntry


class BookingAnswer(BookingView):
    held: HeldBy | None = None
    """Set while the projection holds the booking's stream."""


class BookingKey(SortKey, frozen=True):
    starts_at: Annotated[datetime, msgspec.Meta(tz=True)]
    booking_id: str


_LIST_EDGE: Final = f"{LOCAL_FORMAT}; without a doctor, dates are days in UTC"
_DAY: Final = [Example(value="2026-03-29")]
From = Annotated[
    str | None,
    QueryParameter(name="from", max_length=40, description=f"Starts at or after: {_LIST_EDGE}.", examples=_DAY),
]
To = Annotated[
    str | None,
    QueryParameter(name="to", max_length=40, description=f"Starts before: {_LIST_EDGE}.", examples=_DAY),
]
RangeFrom = Annotated[
    str, QueryParameter(name="from", max_length=40, description=f"Inclusive: {LOCAL_FORMAT}.", examples=_DAY)
]
RangeTo = Annotated[
    str, QueryParameter(name="to", max_length=40, description=f"Exclusive: {LOCAL_FORMAT}.", examples=_DAY)
]
Status = Annotated[BookingStatus | None, QueryParameter(description="Only bookings with this current status.")]

BOOKING: Final = """
SELECT b.version, coalesce(p.version, 0) AS patient_version, coalesce(d.version, 0) AS doctor_version,
       (b.doc || jsonb_build_object(
           'patient_name', p.name, 'doctor_name', d.name,
           'held', CASE WHEN h.stream IS NOT NULL THEN jsonb_build_object(
               'status', h.status, 'version', h.version, 'reason', h.reason,
               'since', replace(to_jsonb(h.first_failed_at) #>> '{}', '+00:00', 'Z')) END))::text AS body,
       CASE WHEN h.status = 'dead' THEN h.version END AS dead_version
FROM bookings b
LEFT JOIN patients p USING (patient_id)
LEFT JOIN doctors d USING (doctor_id)
LEFT JOIN held h ON h.stream = 'bookings/' || b.booking_id
WHERE b.booking_id = $1
"""

# One branch runs, depending on the filters: $1 doctor, $2 patient, $3 status. The page starts after ($4, $5) and ends before $6.
LIST: Final = """
WITH page AS (
    (SELECT booking_id FROM bookings
     WHERE $1::text IS NULL AND $2::text IS NULL AND $3::text IS NULL
       AND (starts_at, booking_id) > ($4, $5) AND starts_at < $6
     ORDER BY starts_at, booking_id LIMIT $7)
    UNION ALL
    (SELECT booking_id FROM bookings
     WHERE $1::text IS NULL AND $2::text IS NULL AND status = $3
       AND (starts_at, booking_id) > ($4, $5) AND starts_at < $6
     ORDER BY starts_at, booking_id LIMIT $7)
    UNION ALL
    (SELECT booking_id FROM bookings
     WHERE $1::text IS NULL AND patient_id = $2 AND ($3::text IS NULL OR status = $3)
       AND (starts_at, booking_id) > ($4, $5) AND starts_at < $6
     ORDER BY starts_at, booking_id LIMIT $7)
    UNION ALL
    (SELECT booking_id FROM bookings
     WHERE doctor_id = $1 AND ($2::text IS NULL OR patient_id = $2) AND ($3::text IS NULL OR status = $3)
       AND (starts_at, booking_id) > ($4, $5) AND starts_at < $6
     ORDER BY starts_at, booking_id LIMIT $7)
)
SELECT b.starts_at, b.booking_id,
       (b.doc || jsonb_build_object('patient_name', p.name, 'doctor_name', d.name))::text AS item
FROM page JOIN bookings b USING (booking_id)
LEFT JOIN patients p USING (patient_id)
LEFT JOIN doctors d USING (doctor_id)
ORDER BY b.starts_at, b.booking_id
"""

ZONE: Final = "SELECT time_zone FROM doctors WHERE doctor_id = $1"
DOCTOR_IS_KNOWN: Final = """
SELECT WHERE EXISTS (SELECT FROM doctors WHERE doctor_id = $1)
          OR EXISTS (SELECT FROM bookings WHERE doctor_id = $1)
"""
PATIENT_IS_KNOWN: Final = """
SELECT WHERE EXISTS (SELECT FROM patients WHERE patient_id = $1)
          OR EXISTS (SELECT FROM bookings WHERE patient_id = $1)
"""


@read_route("/bookings/{booking_id:str}", needs="queries:bookings", one=True, tags=["bookings"], summary="One booking")
async def booking(request: QueryRequest, booking_id: BookingId) -> Response[BookingAnswer]:
    """One booking, with the names of its patient and its doctor: null until they are registered, and always the current ones.

    `held` states why a later event of the booking has not been applied. The ETag changes with any of them.
    """
    summary, as_of = await request.read(request.stores.postgres("summary"))
    row = await summary.fetchrow(BOOKING, booking_id)
    stream = f"bookings/{booking_id}"
    if row is None:
        raise NotFoundError("booking", booking_id, as_of, await why_held(request, summary, stream))
    body = await with_letter(request, summary, stream, row["body"], row["dead_version"])
    versions = (row["version"], row["patient_version"], row["doctor_version"])
    return conditional_response(request, body, as_of, *versions)


@read_route("/bookings", needs="queries:bookings", tags=["bookings"], summary="Bookings, by their start")
async def bookings(
    request: QueryRequest,
    doctor_id: IdParameter = None,
    patient_id: IdParameter = None,
    status: Status = None,
    from_: From = None,
    to: To = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[BookingView]]:
    """Bookings that start within `from` (inclusive) and `to` (exclusive), the earliest first.

    With `doctor_id`, dates are local days in that doctor's time zone, of 23 or 25 hours when the clocks change; UTC until the doctor is
    registered.
    """
    for name, value in (("doctor_id", doctor_id), ("patient_id", patient_id)):
        if value is not None:
            parse_id(name, value)
    return await list_bookings(request, doctor_id, patient_id, status, from_, to, limit, cursor)


@read_route(
    "/bookings/{booking_id:str}/history",
    needs="queries:bookings",
    one=True,
    tags=["bookings"],
    summary="A booking's history",
)
async def booking_history(
    request: QueryRequest, booking_id: BookingId, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[Page[HistoryEntry]]:
    """All events of a booking, from version 1 on, with their data."""
    return await history_page(
        request, "booking-history", "booking", booking_id, f"bookings/{booking_id}", limit, cursor
    )


async def list_bookings(
    request: QueryRequest,
    doctor_id: str | None,
    patient_id: str | None,
    status: BookingStatus | None,
    from_: str | None,
    to: str | None,
    limit: int,
    cursor: str | None,
    *,
    known: str = "",
    kind: str = "",
) -> Response[Any]:
    """A page of bookings. Raises NotFoundError for ``kind`` if there are none and the statement ``known`` does not find its id."""
    query = ListQuery("bookings", doctor_id, patient_id, status, from_, to)
    summary, as_of = await request.read(request.stores.postgres("summary"))
    zone = ZoneInfo(UTC_ZONE)
    if doctor_id is not None and any(edge and parse_date("from", edge) for edge in (from_, to)):
        zone = await zone_of(summary, doctor_id)
    form = TIME_FORMAT if doctor_id is None else LOCAL_FORMAT
    since = start_of("from", from_, zone, form) if from_ else EARLIEST
    until = start_of("to", to, zone, form) if to else LATEST
    if from_ and until < since:
        raise InvalidParameterError("to", f"{to} lies before from")
    # No id sorts before the empty one: so without a cursor this means "from ``since`` on".
    after = query.key(cursor, BookingKey) if cursor else BookingKey(since, "")
    rows = await summary.fetch(LIST, doctor_id, patient_id, status, after.starts_at, after.booking_id, until, limit + 1)
    if not rows and known:
        subject = str(doctor_id if kind == "doctor" else patient_id)
        if not await summary.fetch(known, subject):
            raise NotFoundError(kind, subject, as_of)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = query.cursor(BookingKey(last["starts_at"], last["booking_id"]))
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


async def zone_of(summary: PostgresStore, doctor_id: str) -> ZoneInfo:
    """The time zone of the doctor's practice; UTC until they are registered."""
    row = await summary.fetchrow(ZONE, doctor_id)
    return ZoneInfo(row["time_zone"] if row else UTC_ZONE)


STORED: Final = {("summary", "bookings"): StoredDocument(BOOKING, "queries:bookings")}
ROUTES: Final = (
    booking,
    bookings,
    booking_history,
)
