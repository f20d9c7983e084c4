"""Patients: one patient, and a patient's bookings."""

from typing import Final

from litestar import Response

from query_service.http.documents import StoredDocument, document
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page
from query_service.http.parameters import PatientId
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.routes.bookings.bookings import PATIENT_IS_KNOWN, From, Status, To, list_bookings
from shared.views.bookings import BookingView, PatientView

PATIENT: Final = "SELECT version, doc::text AS body FROM patients WHERE patient_id = $1"


@read_route("/patients/{patient_id:str}", needs="queries:bookings", one=True, tags=["bookings"], summary="One patient")
async def patient(request: QueryRequest, patient_id: PatientId) -> Response[PatientView]:
    """One patient."""
    return await document(request, request.stores.postgres("summary"), PATIENT, "patient", patient_id)


@read_route(
    "/patients/{patient_id:str}/bookings",
    needs="queries:bookings",
    one=True,
    tags=["bookings"],
    summary="A patient's bookings",
)
async def patient_bookings(
    request: QueryRequest,
    patient_id: PatientId,
    status: Status = None,
    from_: From = None,
    to: To = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[BookingView]]:
    """A patient's bookings by their start; 404 only if neither the patient nor a booking of theirs exists. Dates are days in UTC."""
    return await list_bookings(
        request, None, patient_id, status, from_, to, limit, cursor, known=PATIENT_IS_KNOWN, kind="patient"
    )


STORED: Final = {("summary", "patients"): StoredDocument(PATIENT, "queries:bookings")}
ROUTES: Final = (
    patient,
    patient_bookings,
)
