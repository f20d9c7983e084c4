"""The drill of the alerts, as an operator runs it: a store frozen, the relay killed, an event poisoned, in a real Prometheus."""

from pathlib import Path
from typing import Final

import pytest

from tests.e2e.test_fulfilment_drill import drill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

LIMIT_S: Final = 120.0
FAULTS: Final = ("redis", "relay", "poison")


async def test_the_right_alert_fires_within_two_minutes_and_ends_within_two_minutes_after_the_mend(
    tmp_path: Path,
) -> None:
    report = await drill(tmp_path, "alerts", *(f"--fault={fault}" for fault in FAULTS))
    for found in report["observations"]:
        print(f"{found['alert']}: fired after {found['fired_s']:.0f} s, ended after {found['cleared_s']:.0f} s")
        assert 0 < found["fired_s"] < LIMIT_S, found
        assert 0 < found["cleared_s"] < LIMIT_S, found
    assert {found["fault"] for found in report["observations"]} == set(FAULTS)
    assert {found["alert"].partition("{")[0] for found in report["observations"]} == {
        "TidemarkComponentUnhealthy",
        "TidemarkFreshnessBurnsFast",
        "TidemarkNewDeadLetters",
        "TidemarkProcessDown",
    }
