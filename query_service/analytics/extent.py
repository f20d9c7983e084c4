"""The currencies and the days that the analytics store has, and what a query without a currency or an end is answered for.

Amounts in different currencies are never added. A query without a currency is answered in one currency, in the same form as while there
is only one, and additionally in each currency under ``by_currency``. So clients written for one currency keep working.
"""

from collections.abc import Sequence
from typing import Any, Final

from query_service.analytics.ranges import MAX_BUCKETS, Range, RequestedRange, day_range, spans
from query_service.http.requests import QueryRequest
from query_service.stores.redis_store import RedisStore
from shared.views.analytics import FIRST_CURRENCY

MAX_CURRENCIES: Final = 20
MAX_CURRENCY_BUCKETS: Final = 5 * MAX_BUCKETS
"""Above these limits ``by_currency`` is null: clients have to query by ``currency``."""


async def extent(store: RedisStore) -> tuple[list[str], Range | None]:
    """The currencies seen, starting with that of the first order, and the days with data."""
    keys = store.keys
    seen, head, first, last = await store.ask(
        ("SMEMBERS", keys.currencies),
        ("HGET", keys.first, FIRST_CURRENCY),
        ("ZRANGE", keys.days, 0, 0),
        ("ZRANGE", keys.days, -1, -1),
    )
    currencies = sorted(seen, key=lambda currency: (currency != head, currency))
    return currencies, day_range(first[0], last[0]) if first else None


def currencies_of(seen: list[str], own: str) -> list[str]:
    """The currencies of a query that names none. The first, in which it is answered, is ``own`` or else that of the first order."""
    return [own, *(currency for currency in seen if currency != own)] if own else seen


async def default_currencies(request: QueryRequest) -> list[str]:
    """Those of a query that names none, if it is answered from another store than analytics: the same ones."""
    seen, _ = await extent(await request.stores.redis("analytics").store())
    return currencies_of(seen, request.app.state.currency)


def by_currency(currencies: Sequence[str], answers: Sequence[Any]) -> dict[str, Any]:
    """Empty while there is one currency; otherwise all currencies, and the result in each unless there are too many."""
    if len(currencies) < 2:
        return {}
    whole = len(answers) == len(currencies)
    return {"currencies": currencies, "by_currency": dict(zip(currencies, answers, strict=True)) if whole else None}


def spans_of(query: RequestedRange, data: Range | None) -> list[str]:
    """The spans that cover the requested days with data."""
    range_ = query.resolve(data)
    if data is None or range_ is None:
        return []
    return spans(range_, data)
