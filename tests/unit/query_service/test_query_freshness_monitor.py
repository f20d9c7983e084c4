"""Current, behind or stalled; and how old the oldest event is that a projection has not applied."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from query_service.consistency.freshness_monitor import FreshnessMonitor
from query_service.stores.active_generation import ActiveGeneration, Pointer
from query_service.stores.port import ProjectionProgress
from shared.messages.changes import PROCESS_STATE, ProcessAnnounced, ProcessState
from shared.messaging.announcing import Processes

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


class Active:
    projection = "summary"
    pointer = Pointer(1, "e-1")
    incomplete = None


class MonitorHarness:
    """A monitor with a clock that the test sets."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.processes = Processes(lambda: self.passed)
        self.monitor = FreshnessMonitor(
            cast("ActiveGeneration[Any]", Active()), self.processes, clock=lambda: self.passed
        )

    def announce(self, process: str, **troubles: str) -> None:
        state = ProcessState(process=process, instance="a", troubles=troubles)
        announced = ProcessAnnounced(id="i", source="tests", type=PROCESS_STATE, time=NOW, data=state)
        self.processes.handle_announcement(announced.model_dump_json().encode())

    def reason(self, seconds: float, of: ProjectionProgress) -> str | None:
        self.passed = seconds
        return self.monitor.evaluate(1, of, NOW + timedelta(seconds=seconds)).reason

    def at(self, seconds: float, progress: ProjectionProgress, generation: int = 1) -> tuple[str, float | None]:
        self.passed = seconds
        found = self.monitor.evaluate(generation, progress, NOW + timedelta(seconds=seconds))
        assert (found.generation, found.epoch, found.stopped) == (generation, "e-1", None)
        return found.status, found.oldest_unapplied_seconds


def progress(as_of: float | None, events: int = 0, held_since: float | None = None) -> ProjectionProgress:
    """Times in seconds from NOW."""
    return ProjectionProgress(_time(as_of), events, int(held_since is not None), _time(held_since))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOW + timedelta(seconds=seconds)


@pytest.fixture
def harness() -> MonitorHarness:
    return MonitorHarness()


def test_an_idle_projection_is_current_as_long_as_heartbeats_come(harness: MonitorHarness) -> None:
    assert [harness.at(second, progress(second - 1.1)) for second in range(20)] == [("current", None)] * 20


def test_without_progress_it_is_stalled_within_ten_seconds_and_current_after_progress(
    harness: MonitorHarness,
) -> None:
    observed = [harness.at(second, progress(-0.5)) for second in range(10)]
    assert [status for status, _ in observed] == ["current"] * 3 + ["behind"] + ["stalled"] * 6
    assert observed[9] == ("stalled", 9.5)
    assert harness.at(10, progress(9.5)) == ("current", None)


def test_a_projection_that_works_off_a_backlog_is_behind_and_not_stalled(harness: MonitorHarness) -> None:
    by_time = [harness.at(second, progress(second / 2 - 60))[0] for second in range(20)]
    by_events = [harness.at(second, progress(-60, events=second))[0] for second in range(20, 40)]
    assert set(by_time + by_events) == {"behind"}


def test_a_projection_without_a_heartbeat_is_not_current(harness: MonitorHarness) -> None:
    assert harness.at(0, progress(None)) == ("behind", None)
    assert harness.at(5, progress(None)) == ("stalled", None)


def test_a_held_stream_is_as_old_as_its_first_failure_also_in_a_current_projection(harness: MonitorHarness) -> None:
    assert harness.at(100, progress(99.5, held_since=-20)) == ("current", 120)
    assert harness.at(200, progress(10, held_since=150)) == ("behind", 190)


def test_another_generation_counts_as_progress(harness: MonitorHarness) -> None:
    assert harness.at(0, progress(-60))[0] == "behind"
    assert harness.at(9, progress(-60))[0] == "stalled"
    assert harness.at(10, progress(-60), generation=2)[0] == "behind"


def test_an_up_to_date_projection_is_stalled_while_no_command_is_decided(harness: MonitorHarness) -> None:
    harness.announce("worker", database="deciding 40 commands: no progress for 6 s; locked")
    assert harness.at(0, progress(-1))[0] == "stalled"
    assert harness.reason(0, progress(-1)) == "worker: deciding 40 commands: no progress for 6 s; locked"
    harness.announce("worker")
    assert (harness.at(1, progress(0))[0], harness.reason(1, progress(0))) == ("current", None)


def test_differing_queue_arguments_and_problems_of_other_processes_do_not_stall_a_current_projection(
    harness: MonitorHarness,
) -> None:
    harness.announce("worker", queues="commands.dead has another x-overflow than it should")
    harness.announce("relay", resender="away")
    harness.announce("summary", store="locked")
    assert harness.at(0, progress(-1))[0] == "current"


def test_a_projection_with_one_lane_without_progress_is_stalled(harness: MonitorHarness) -> None:
    harness.announce("summary", consumer="queue summary.2 is missing")
    observed = [harness.at(second / 4, progress(-60, events=second))[0] for second in range(20)]
    assert set(observed) == {"stalled"}
    assert harness.reason(5, progress(-60, events=20)) == "summary: queue summary.2 is missing"


def test_the_reason_says_that_no_process_explains_the_stall(harness: MonitorHarness) -> None:
    assert harness.reason(0, progress(-60)) is None
    assert harness.reason(9, progress(-60)) == "nothing has moved for 9 s, and no process says why"
