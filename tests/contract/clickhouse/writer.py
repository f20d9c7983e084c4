"""``python -m tests.contract.clickhouse.writer URL FIRST``: commits orders until it is killed, and says after each commit which.

Commit n places the orders n-0 … n-9 and cancels those of commit n - 1. Where the store has a commit already, as after a kill, it is
refused as stale, and the writer goes on with the next.
"""

import asyncio
import sys
from contextlib import suppress

from projectors.stores.port import Commit, LaneProgress, StalePositionError
from tests import shop
from tests.contract.clickhouse.store import ClickHouseStore

WIDTH = 10


def commit(number: int) -> Commit:
    placed = [f"{number}-{place}" for place in range(WIDTH)]
    before = [f"{number - 1}-{place}" for place in range(WIDTH)] if number else []
    return Commit(
        [
            *(shop.run(f"orders/{name}", shop.placed(name)) for name in placed),
            *(shop.run(f"orders/{name}", shop.cancelled(shop.placed(name)), expected=1) for name in before),
        ],
        progress={0: LaneProgress(None, len(placed) + len(before))},
    )


async def main(url: str, first: int) -> None:
    store = ClickHouseStore(url)
    number = first
    while True:
        with suppress(StalePositionError):
            await store.commit(commit(number))
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
