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


class Nobody:
    projection = "summary"
    pointer = Pointer(1, "e-1")
    incomplete = None


class Watched:
    """A movement, with its clock in hand."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.processes = Processes(lambda: self.passed)
        self.movement = FreshnessMonitor(
            cast("ActiveGeneration[Any]", Nobody()), self.processes, clock=lambda: self.passed
        )

    def say(self, process: str, **troubles: str) -> None:
        state = ProcessState(process=process, instance="a", troubles=troubles)
        said = ProcessAnnounced(id="i", source="tests", type=PROCESS_STATE, time=NOW, data=state)
        self.processes.handle_announcement(said.model_dump_json().encode())

    def reason(self, seconds: float, of: ProjectionProgress) -> str | None:
        self.passed = seconds
        return self.movement.seen(1, of, NOW + timedelta(seconds=seconds)).reason

    def at(self, seconds: float, progress: ProjectionProgress, generation: int = 1) -> tuple[str, float | None]:
        self.passed = seconds
        found = self.movement.seen(generation, progress, NOW + timedelta(seconds=seconds))
        assert (found.generation, found.epoch, found.stopped) == (generation, "e-1", None)
        return found.status, found.oldest_unapplied_seconds


def progress(as_of: float | None, events: int = 0, held_since: float | None = None) -> ProjectionProgress:
    """Times in seconds from NOW."""
    return ProjectionProgress(_time(as_of), events, int(held_since is not None), _time(held_since))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOW + timedelta(seconds=seconds)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_an_idle_projection_is_current_as_long_as_heartbeats_come(watched: Watched) -> None:
    assert [watched.at(second, progress(second - 1.1)) for second in range(20)] == [("current", None)] * 20


def test_one_that_stands_still_is_stalled_within_ten_seconds_and_current_again_when_it_goes_on(
    watched: Watched,
) -> None:
    seen = [watched.at(second, progress(-0.5)) for second in range(10)]
    assert [status for status, _ in seen] == ["current"] * 3 + ["behind"] + ["stalled"] * 6
    assert seen[9] == ("stalled", 9.5)
    assert watched.at(10, progress(9.5)) == ("current", None)


def test_one_that_works_off_a_backlog_is_behind_and_not_stalled(watched: Watched) -> None:
    by_time = [watched.at(second, progress(second / 2 - 60))[0] for second in range(20)]
    by_events = [watched.at(second, progress(-60, events=second))[0] for second in range(20, 40)]
    assert set(by_time + by_events) == {"behind"}


def test_one_that_never_heard_a_heartbeat_is_not_current(watched: Watched) -> None:
    assert watched.at(0, progress(None)) == ("behind", None)
    assert watched.at(5, progress(None)) == ("stalled", None)


def test_a_held_stream_is_as_old_as_its_first_failure_also_in_a_current_projection(watched: Watched) -> None:
    assert watched.at(100, progress(99.5, held_since=-20)) == ("current", 120)
    assert watched.at(200, progress(10, held_since=150)) == ("behind", 190)


def test_another_generation_has_moved(watched: Watched) -> None:
    assert watched.at(0, progress(-60))[0] == "behind"
    assert watched.at(9, progress(-60))[0] == "stalled"
    assert watched.at(10, progress(-60), generation=2)[0] == "behind"


def test_one_that_has_all_there_is_is_stalled_while_no_command_is_decided(watched: Watched) -> None:
    watched.say("worker", database="deciding 40 commands: no progress for 6 s; locked")
    assert watched.at(0, progress(-1))[0] == "stalled"
    assert watched.reason(0, progress(-1)) == "worker: deciding 40 commands: no progress for 6 s; locked"
    watched.say("worker")
    assert (watched.at(1, progress(0))[0], watched.reason(1, progress(0))) == ("current", None)


def test_queues_that_are_made_otherwise_and_troubles_of_others_stall_none_that_is_current(watched: Watched) -> None:
    watched.say("worker", queues="commands.dead has another x-overflow than it should")
    watched.say("relay", resender="away")
    watched.say("summary", store="locked")
    assert watched.at(0, progress(-1))[0] == "current"


def test_one_of_whose_lanes_one_stands_still_is_stalled_although_the_others_move(watched: Watched) -> None:
    watched.say("summary", consumer="queue summary.2 is missing")
    seen = [watched.at(second / 4, progress(-60, events=second))[0] for second in range(20)]
    assert set(seen) == {"stalled"}
    assert watched.reason(5, progress(-60, events=20)) == "summary: queue summary.2 is missing"


def test_the_reason_of_a_standstill_that_no_process_explains_says_so(watched: Watched) -> None:
    assert watched.reason(0, progress(-60)) is None
    assert watched.reason(9, progress(-60)) == "nothing has moved for 9 s, and no process says why"
