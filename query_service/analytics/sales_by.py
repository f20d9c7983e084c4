"""Sales by region and by category, as the analytics store counts them: by day and month, in one currency.

They are refused as long as they do not include every event: figures that lack some would look right.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from query_service.analytics.buyers import SCAN_COUNT
from query_service.stores.redis_store import RedisStore
from shared.http.problems import Problem
from shared.views.analytics import METRICS, SALES, SALES_INCOMPLETE, Dimension, events_applied

MAX_TRIES: Final = 5
CODE: Final = "sales-incomplete"

_PLACES: Final = {metric: place for place, metric in enumerate(METRICS)}
Sums = Mapping[str, Sequence[int]]
"""Region or category ("": unknown) → its METRICS."""


class SalesIncompleteError(Problem):
    """Some events of this generation were applied by code that did not count sales by region and category; a rebuild counts them."""

    status = 503
    code = CODE

    def __init__(self) -> None:
        super().__init__(SALES_INCOMPLETE)


async def sales_by(store: RedisStore, dimension: Dimension, currency: str, spans: Sequence[str]) -> Sums:
    """The sums over these days and months. Raises SalesIncompleteError."""
    await require_complete(store)
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(METRICS))
    for found in await store.ask(*(("HGETALL", store.keys.sales_by(dimension, currency, span)) for span in spans)):
        for name, number in found.items():
            metric, _, value = name.partition(":")
            sums[value][_PLACES[metric]] += int(number)
    return sums


async def buyers_by(store: RedisStore, dimension: Dimension, currency: str, month: str) -> tuple[Counter[str], int]:
    """The number of different customers in each region or category, and in all of them together.

    Reads and counts every pair of a customer and a region or category, in steps: a shop with many of them waits, but neither other clients
    of Redis nor the other requests of this process do.
    """
    key, cursor = store.keys.buyers_by(dimension, currency, month), 0
    pairs: set[str] = set()  # a scan may return a member twice
    counts: Counter[str] = Counter()
    customers: set[str] = set()
    while True:
        ((following, found),) = await store.ask(("HSCAN", key, cursor, "COUNT", SCAN_COUNT))
        new = [pair.partition(" ") for pair in found if pair not in pairs]
        pairs.update(found)
        counts.update(value for _, _, value in new)
        customers.update(customer for customer, _, _ in new)
        cursor = int(following)
        if not cursor:
            return counts, len(customers)


async def require_complete(store: RedisStore) -> None:
    """Raises SalesIncompleteError.

    The store may apply events between two reads, so the number of all events is read before and after that of the counted ones. Their
    difference never decreases: equal to either bound, it is decided.
    """
    for _ in range(MAX_TRIES):
        progress = ("HGETALL", store.keys.progress)
        before, counted, after = await store.ask(progress, ("HGET", store.keys.counted, SALES), progress)
        if int(counted or 0) >= events_applied(after):
            return
        if int(counted or 0) < events_applied(before):
            break
    raise SalesIncompleteError
