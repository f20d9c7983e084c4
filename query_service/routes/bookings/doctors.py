"""Doctors: one doctor, a doctor's bookings, and a doctor's free times."""

from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from litestar import Response
from litestar.params import QueryParameter
from pydantic import BaseModel, ConfigDict, Field

from query_service.bookings.free_times import Span, free_times
from query_service.bookings.local_days import start_of
from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument, document
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page
from query_service.http.parameters import DoctorId
from query_service.http.problems import InvalidParameterError, NotFoundError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.routes.bookings.bookings import (
    DOCTOR_IS_KNOWN,
    From,
    RangeFrom,
    RangeTo,
    Status,
    To,
    list_bookings,
    zone_of,
)
from shared.contracts.bookings import MAX_MINUTES, OCCUPYING, SLOT_MINUTES
from shared.views.bookings import BookingView, DoctorView, FreeTime

LONGEST_RANGE: Final = timedelta(days=32)
"""A month always fits, also one in which the clocks are set back."""

DOCTOR: Final = "SELECT version, doc::text AS body FROM doctors WHERE doctor_id = $1"

# No booking is longer than $5, so those that reach into the range start at most that long before it.
BUSY: Final = """
SELECT starts_at, ends_at FROM bookings
WHERE doctor_id = $1 AND starts_at > $2::timestamptz - $5::interval AND starts_at < $3 AND ends_at > $2
  AND status = ANY ($4::text[])
"""

Least = Annotated[
    int,
    QueryParameter(
        ge=SLOT_MINUTES,
        le=MAX_MINUTES,
        multiple_of=SLOT_MINUTES,
        description="Only free times of at least this many minutes; a multiple of 5.",
    ),
]


class FreeTimes(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    doctor_id: str
    time_zone: str
    from_: datetime = Field(alias="from", description="The start of the range, in UTC.")
    to: datetime = Field(description="Its end, in UTC.")
    items: list[FreeTime]


@read_route("/doctors/{doctor_id:str}", needs="queries:bookings", one=True, tags=["bookings"], summary="One doctor")
async def doctor(request: QueryRequest, doctor_id: DoctorId) -> Response[DoctorView]:
    """One doctor, with the time zone of the practice."""
    return await document(request, request.stores.postgres("summary"), DOCTOR, "doctor", doctor_id)


@read_route(
    "/doctors/{doctor_id:str}/bookings",
    needs="queries:bookings",
    one=True,
    tags=["bookings"],
    summary="A doctor's bookings",
)
async def doctor_bookings(
    request: QueryRequest,
    doctor_id: DoctorId,
    status: Status = None,
    from_: From = None,
    to: To = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[BookingView]]:
    """A doctor's bookings by their start; 404 only if neither the doctor nor a booking of theirs exists.

    Dates are local days in the doctor's time zone.
    """
    return await list_bookings(
        request, doctor_id, None, status, from_, to, limit, cursor, known=DOCTOR_IS_KNOWN, kind="doctor"
    )


@read_route(
    "/doctors/{doctor_id:str}/free-times",
    needs="queries:bookings",
    one=True,
    tags=["bookings"],
    summary="A doctor's free times",
)
async def doctor_free_times(
    request: QueryRequest, doctor_id: DoctorId, from_: RangeFrom, to: RangeTo, minutes: Least = SLOT_MINUTES
) -> Response[FreeTimes]:
    """The times within `from` and `to`, at most 32 days, that no booking of the doctor's takes: each as long as possible.

    Pending, confirmed and completed bookings and no-shows take their time, cancelled ones do not. There are no opening hours: nights
    are free. Dates are local days in the doctor's time zone. A time that is free here may be taken by the time it is requested, and
    the patient may be busy then.
    """
    summary, as_of = await request.read(request.stores.postgres("summary"))
    zone = await zone_of(summary, doctor_id)
    within = Span(start_of("from", from_, zone), start_of("to", to, zone))
    if within.end < within.start:
        raise InvalidParameterError("to", f"{to} lies before from")
    if within.end - within.start > LONGEST_RANGE:
        raise InvalidParameterError("to", f"the range has more than {LONGEST_RANGE.days} days; ask in parts")
    longest = timedelta(minutes=MAX_MINUTES)
    rows = await summary.fetch(BUSY, doctor_id, *within, sorted(OCCUPYING), longest)
    if not rows and not await summary.fetch(DOCTOR_IS_KNOWN, doctor_id):
        raise NotFoundError("doctor", doctor_id, as_of)
    free = free_times((Span(*row) for row in rows), within, timedelta(minutes=minutes))
    body = {
        "doctor_id": doctor_id,
        "time_zone": zone.key,
        "from": within.start,
        "to": within.end,
        "items": [
            {"starts_at": start, "ends_at": end, "minutes": (end - start) // timedelta(minutes=1)}
            for start, end in free
        ],
    }
    return conditional_response(request, msgspec.json.encode(body), as_of)


STORED: Final = {("summary", "doctors"): StoredDocument(DOCTOR, "queries:bookings")}
ROUTES: Final = (
    doctor,
    doctor_bookings,
    doctor_free_times,
)
