"""Orders: one order, lists, and an order's history. ``customers`` uses ``list_orders`` for a customer's orders."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument, history_page
from query_service.http.held import HeldBy, why_held, with_letter
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import EARLIEST, LATEST, IdParameter, OrderId, TimeParameter, parse_id, parse_time
from query_service.http.problems import NotFoundError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from shared.contracts.orders import OrderStatus
from shared.views.summary import HistoryEntry, OrderSummary, OrderView


class OrderAnswer(OrderView):
    held: HeldBy | None = None
    """Set while the projection holds the order's stream."""


class OrderKey(SortKey, frozen=True):
    placed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    order_id: str


Status = Annotated[OrderStatus | None, QueryParameter(description="Only orders with this current status.")]

# Lines without a name take it from the product. The sum of those products' versions changes whenever one of them does, because
# versions only grow and an order's lines never change.
ORDER: Final = """
SELECT o.version, coalesce(c.version, 0) AS customer_version,
       coalesce(borrowed.versions, 0)::bigint AS product_versions,
       (parsed.doc || jsonb_build_object(
           'customer_name', c.name,
           'lines', coalesce(borrowed.lines, parsed.doc->'lines'),
           'held', CASE WHEN h.stream IS NOT NULL THEN jsonb_build_object(
               'status', h.status, 'version', h.version, 'reason', h.reason,
               'since', replace(to_jsonb(h.first_failed_at) #>> '{}', '+00:00', 'Z')) END))::text AS body,
       CASE WHEN h.status = 'dead' THEN h.version END AS dead_version
FROM orders o
CROSS JOIN LATERAL (SELECT o.doc::jsonb AS doc OFFSET 0) parsed
LEFT JOIN customers c USING (customer_id)
LEFT JOIN held h ON h.stream = 'orders/' || o.order_id
CROSS JOIN LATERAL (
    SELECT sum(p.version) AS versions,
           jsonb_agg(line || jsonb_build_object('name', coalesce(line->>'name', p.name)) ORDER BY place) AS lines
    FROM jsonb_array_elements(parsed.doc->'lines') WITH ORDINALITY AS listed (line, place)
    LEFT JOIN products p ON line->>'name' IS NULL AND p.product_id = line->>'product_id'
    WHERE jsonb_path_exists(parsed.doc, '$.lines[*] ? (!exists(@.name) || @.name == null)')
) borrowed
WHERE o.order_id = $1
"""

# One branch runs, depending on the filters: $1 customer, $2 status. The page starts below ($4, $5).
LIST: Final = """
WITH page AS (
    (SELECT order_id FROM orders
     WHERE $1::text IS NULL AND $2::text IS NULL AND placed_at >= $3 AND (placed_at, order_id) < ($4, $5)
     ORDER BY placed_at DESC, order_id DESC LIMIT $6)
    UNION ALL
    (SELECT order_id FROM orders
     WHERE $1::text IS NULL AND status = $2 AND placed_at >= $3 AND (placed_at, order_id) < ($4, $5)
     ORDER BY placed_at DESC, order_id DESC LIMIT $6)
    UNION ALL
    (SELECT order_id FROM orders
     WHERE customer_id = $1 AND ($2::text IS NULL OR status = $2)
       AND placed_at >= $3 AND (placed_at, order_id) < ($4, $5)
     ORDER BY placed_at DESC, order_id DESC LIMIT $6)
)
SELECT o.placed_at, o.order_id, jsonb_build_object(
    'order_id', o.order_id, 'customer_id', o.customer_id, 'customer_name', c.name, 'status', o.status,
    'currency', o.currency, 'item_count', o.item_count, 'total', o.total,
    'placed_at', replace(to_jsonb(o.placed_at) #>> '{}', '+00:00', 'Z'),
    'updated_at', replace(to_jsonb(o.updated_at) #>> '{}', '+00:00', 'Z'), 'version', o.version)::text AS item
FROM page JOIN orders o USING (order_id) LEFT JOIN customers c USING (customer_id)
ORDER BY o.placed_at DESC, o.order_id DESC
"""

CUSTOMER_IS_KNOWN: Final = """
SELECT WHERE EXISTS (SELECT FROM customers WHERE customer_id = $1)
          OR EXISTS (SELECT FROM orders WHERE customer_id = $1)
"""


@read_route("/orders/{order_id:str}", needs="queries:orders", one=True, tags=["orders"], summary="One order")
async def order(request: QueryRequest, order_id: OrderId) -> Response[OrderAnswer]:
    """One order, with the customer's name, and with product names for lines that were placed without one.

    `held` states why a later event of the order has not been applied; once that event is `dead`, also its dead letter, if the
    operations database is available. The ETag changes with any of them.
    """
    summary, as_of = await request.read(request.stores.postgres("summary"))
    row = await summary.fetchrow(ORDER, order_id)
    if row is None:
        raise NotFoundError("order", order_id, as_of, await why_held(request, summary, f"orders/{order_id}"))
    versions = (row["version"], row["customer_version"], row["product_versions"])
    body = await with_letter(request, summary, f"orders/{order_id}", row["body"], row["dead_version"])
    return conditional_response(request, body, as_of, *versions)


@read_route("/orders", needs="queries:orders", tags=["orders"], summary="Orders, the newest first")
async def orders(
    request: QueryRequest,
    customer_id: IdParameter = None,
    status: Status = None,
    placed_from: TimeParameter = None,
    placed_to: TimeParameter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[OrderSummary]]:
    """Orders, the newest first by `placed_at`. `placed_from` is inclusive, `placed_to` exclusive."""
    if customer_id is not None:
        parse_id("customer_id", customer_id)
    return await list_orders(request, customer_id, status, placed_from, placed_to, limit, cursor)


@read_route(
    "/orders/{order_id:str}/history", needs="queries:orders", one=True, tags=["orders"], summary="An order's history"
)
async def history(
    request: QueryRequest, order_id: OrderId, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[Page[HistoryEntry]]:
    """All events of an order, from version 1 on, with their data."""
    return await history_page(request, "history", "order", order_id, f"orders/{order_id}", limit, cursor)


async def list_orders(
    request: QueryRequest,
    customer_id: str | None,
    status: OrderStatus | None,
    placed_from: str | None,
    placed_to: str | None,
    limit: int,
    cursor: str | None,
    *,
    customer_must_exist: bool = False,
) -> Response[Any]:
    """A page of orders. Raises NotFoundError with ``customer_must_exist`` if neither the customer nor an order of theirs exists."""
    since = parse_time("placed_from", placed_from) if placed_from else EARLIEST
    until = parse_time("placed_to", placed_to) if placed_to else LATEST
    query = ListQuery("orders", customer_id, status, since, until)
    # No id sorts before the empty one: so without a cursor this means "placed before ``until``".
    before = query.key(cursor, OrderKey) if cursor else OrderKey(until, "")
    summary, as_of = await request.read(request.stores.postgres("summary"))
    rows = await summary.fetch(LIST, customer_id, status, since, before.placed_at, before.order_id, limit + 1)
    if not rows and customer_must_exist and not await summary.fetch(CUSTOMER_IS_KNOWN, customer_id):
        raise NotFoundError("customer", str(customer_id), as_of)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = query.cursor(OrderKey(last["placed_at"], last["order_id"]))
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


STORED: Final = {("summary", "orders"): StoredDocument(ORDER, "queries:orders")}
ROUTES: Final = (
    order,
    orders,
    history,
)
