"""Failpoints: off unless a setting names them, exact when it does, and never misspelt in silence."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from shared.runtime.failpoints import EXIT_CODE, Failpoint, arm, reached


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("", "")


def visited(process: str, setting: str, place: Failpoint, times: int) -> int:
    """The exit code of a process of that name that comes by the place so many times, and then ends."""
    steps = f"arm({process!r}, {setting!r}); [reached(Failpoint({place.value!r})) for _ in range({times})]"
    code = f"from shared.runtime.failpoints import Failpoint, arm, reached; {steps}"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize(("times", "expected"), [(2, 0), (3, EXIT_CODE)])
def test_the_process_dies_at_the_visit_that_the_setting_says(times: int, expected: int) -> None:
    assert visited("summary", "summary:before-ack:3", Failpoint.BEFORE_ACK, times) == expected


def test_the_first_visit_is_meant_where_none_is_said() -> None:
    assert visited("relay", "relay:before-delete", Failpoint.BEFORE_DELETE, 1) == EXIT_CODE


@pytest.mark.parametrize("setting", ["", "search:before-ack", "summary:after-commit"])
def test_nothing_happens_at_other_places_nor_in_other_processes(setting: str) -> None:
    arm("summary", setting)
    reached(Failpoint.BEFORE_ACK)


@pytest.mark.parametrize(
    "setting", ["summary", "summary:", "summary:before-lunch", "summary:before-ack:0", "x:before-ack:n"]
)
def test_a_setting_that_cannot_be_understood_keeps_every_process_from_starting(setting: str) -> None:
    with pytest.raises(ValueError, match="TIDEMARK_FAILPOINT"):
        arm("relay", setting)
