"""Customers: one customer, and a customer's orders."""

from typing import Final

from litestar import Response

from query_service.http.documents import StoredDocument, document
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page
from query_service.http.parameters import CustomerId, TimeParameter
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.routes.shop.orders import Status, list_orders
from shared.views.summary import CustomerView, OrderSummary

CUSTOMER: Final = "SELECT version, doc::text AS body FROM customers WHERE customer_id = $1"


@read_route(
    "/customers/{customer_id:str}", needs="queries:customers", one=True, tags=["customers"], summary="One customer"
)
async def customer(request: QueryRequest, customer_id: CustomerId) -> Response[CustomerView]:
    """One customer."""
    return await document(request, request.stores.postgres("summary"), CUSTOMER, "customer", customer_id)


@read_route(
    "/customers/{customer_id:str}/orders",
    needs="queries:orders",
    one=True,
    tags=["customers"],
    summary="A customer's orders",
)
async def customer_orders(
    request: QueryRequest,
    customer_id: CustomerId,
    status: Status = None,
    placed_from: TimeParameter = None,
    placed_to: TimeParameter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[OrderSummary]]:
    """A customer's orders, the newest first; 404 only if neither the customer nor an order of theirs exists.

    Orders may be applied before the registration of their customer.
    """
    return await list_orders(
        request, customer_id, status, placed_from, placed_to, limit, cursor, customer_must_exist=True
    )


STORED: Final = {("summary", "customers"): StoredDocument(CUSTOMER, "queries:customers")}
ROUTES: Final = (
    customer,
    customer_orders,
)
