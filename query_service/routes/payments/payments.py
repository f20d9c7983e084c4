"""Payments: one payment, and lists by order and status."""

from typing import Annotated, Final

from litestar import Response
from litestar.params import QueryParameter

from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument, document
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import IdParameter, PaymentId, parse_id
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from shared.contracts.payments import PaymentStatus
from shared.views.summary import PaymentView


class PaymentKey(SortKey, frozen=True):
    payment_id: str


Status = Annotated[PaymentStatus | None, QueryParameter(description="Only payments with this current status.")]

PAYMENT: Final = "SELECT version, doc::text AS body FROM payments WHERE payment_id = $1"

# One branch runs, depending on the filters: $1 order, $2 status.
LIST: Final = """
(SELECT payment_id, doc::text AS item FROM payments
 WHERE $1::text IS NULL AND $2::text IS NULL AND payment_id > $3 ORDER BY payment_id LIMIT $4)
UNION ALL
(SELECT payment_id, doc::text AS item FROM payments
 WHERE $1::text IS NULL AND status = $2 AND payment_id > $3 ORDER BY payment_id LIMIT $4)
UNION ALL
(SELECT payment_id, doc::text AS item FROM payments
 WHERE order_id = $1 AND ($2::text IS NULL OR status = $2) AND payment_id > $3 ORDER BY payment_id LIMIT $4)
"""


@read_route("/payments/{payment_id:str}", needs="queries:payments", one=True, tags=["payments"], summary="One payment")
async def payment(request: QueryRequest, payment_id: PaymentId) -> Response[PaymentView]:
    """One payment: what was requested for which order, whether it was captured, and how much of it was refunded."""
    return await document(request, request.stores.postgres("summary"), PAYMENT, "payment", payment_id)


@read_route("/payments", needs="queries:payments", tags=["payments"], summary="Payments by id")
async def payments(
    request: QueryRequest,
    order_id: IdParameter = None,
    status: Status = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[PaymentView]]:
    """Payments by id, all or those of an order or a status."""
    if order_id is not None:
        parse_id("order_id", order_id)
    query = ListQuery("payments", order_id, status)
    after = query.key(cursor, PaymentKey).payment_id if cursor else ""
    summary, as_of = await request.read(request.stores.postgres("summary"))
    rows = await summary.fetch(LIST, order_id, status, after, limit + 1)
    following = query.cursor(PaymentKey(rows[limit - 1]["payment_id"])) if len(rows) > limit else None
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


STORED: Final = {("summary", "payments"): StoredDocument(PAYMENT, "queries:payments")}
ROUTES: Final = (
    payment,
    payments,
)
