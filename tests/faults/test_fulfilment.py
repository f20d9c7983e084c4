"""The whole fulfilment drill: 10,000 managed orders, and each process and server killed in turn, at least twice."""

from pathlib import Path

import pytest

from tests.e2e.test_fulfilment_drill import drilled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


async def test_ten_thousand_orders_survive_that_everything_is_killed(tmp_path: Path) -> None:
    report = await drilled(tmp_path)
    assert report["orders"] == 10_000
    assert sum(report["kills"].values()) >= 20
    assert {"processes", "worker", "relay", "payment_provider", "postgres", "rabbitmq"} <= report["kills"].keys()
    assert report["results"]["fulfilled"] > 5_000
    assert report["results"]["cancelled: out of stock"] > 500
