"""The whole fulfilment drill: 10,000 managed orders, and each process and server killed in turn, at least twice.

``TIDEMARK_TEST_ORDERS`` makes it smaller, where time is short: as many kills, closer together, among fewer orders.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.test_fulfilment_drill import drilled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

WHOLE: Final = 10_000
ORDERS: Final = int(os.environ.get("TIDEMARK_TEST_ORDERS", str(WHOLE)))
SMALLER: Final = ("--orders", str(ORDERS), "--kill-every", "1.5", "--pay-within", "60")


async def test_ten_thousand_orders_survive_that_everything_is_killed(tmp_path: Path) -> None:
    report = await drilled(tmp_path, *(() if ORDERS == WHOLE else SMALLER))
    assert report["orders"] == ORDERS
    assert sum(report["kills"].values()) >= 20
    assert {"processes", "worker", "relay", "payment_provider", "postgres", "rabbitmq"} <= report["kills"].keys()
    assert report["results"]["fulfilled"] > ORDERS / 2
    assert report["results"]["cancelled: out of stock"] > ORDERS / 20
