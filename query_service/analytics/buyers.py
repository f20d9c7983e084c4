"""Counts the different customers of several hashes of buyers, exactly."""

from collections.abc import Sequence
from typing import Final

from query_service.stores.redis_store import RedisStore

SCAN_COUNT: Final = 5000
"""Customers in one Redis reply."""


async def distinct(store: RedisStore, keys: Sequence[str]) -> int:
    """The number of different customers in these hashes of buyers."""
    if not keys:
        return 0
    counts = await store.ask(*(("HLEN", key) for key in keys))
    if len(keys) == 1:
        return int(counts[0])
    customers: set[str] = set()
    small = [key for key, count in zip(keys, counts, strict=True) if count <= SCAN_COUNT]
    for found in await store.ask(*(("HKEYS", key) for key in small)):
        customers.update(found)
    cursors = {key: 0 for key in keys if key not in small}
    while cursors:
        # In steps, so that a large set of customers does not block Redis for its other clients.
        replies = await store.ask(*(("HSCAN", key, at, "COUNT", SCAN_COUNT) for key, at in cursors.items()))
        for key, (following, found) in zip(list(cursors), replies, strict=True):
            customers.update(found)
            if following:
                cursors[key] = int(following)
            else:
                del cursors[key]
    return len(customers)
