"""What is made of what other processes say of themselves, and of their silence."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from shared.messages.changes import PROCESS_STATE, ProcessAnnounced, ProcessState
from shared.messaging import topology
from shared.messaging.announcing import QUEUES_MADE_OTHERWISE, Processes


class Hall:
    """Processes that announce themselves, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.processes = Processes(lambda: self.now)

    def say(self, process: str, instance: str = "a", troubles: Mapping[str, str] | None = None) -> None:
        state = ProcessState(process=process, instance=instance, troubles=troubles or {})
        envelope = ProcessAnnounced(id="i", source="tests", type=PROCESS_STATE, time=datetime.now(UTC), data=state)
        self.processes.hear(envelope.model_dump_json().encode())


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_what_a_process_says_is_wrong_is_so_until_it_says_otherwise(hall: Hall) -> None:
    hall.say("worker", troubles={"database": "locked"})
    assert hall.processes.trouble("worker") == "worker: locked"
    assert hall.processes.trouble("relay") is None
    assert hall.processes.trouble() == "worker: locked"
    hall.say("worker")
    assert hall.processes.trouble("worker") is None


def test_a_component_can_be_left_out(hall: Hall) -> None:
    hall.say("worker", troubles={QUEUES_MADE_OTHERWISE: "made otherwise"})
    assert hall.processes.trouble("worker") == "worker: made otherwise"
    assert hall.processes.trouble("worker", but=QUEUES_MADE_OTHERWISE) is None


def test_who_has_been_heard_and_is_silent_is_not_well_and_who_never_was_is_not_judged(hall: Hall) -> None:
    hall.say("worker")
    hall.now += 6
    assert hall.processes.trouble("worker", "relay") is None
    hall.now += 2
    assert hall.processes.trouble("worker", "relay") == "worker: it has said nothing for 8 s: is it running?"


def test_of_several_instances_one_that_is_heard_is_enough_and_each_trouble_counts(hall: Hall) -> None:
    hall.say("worker", "a", troubles={"database": "locked"})
    hall.say("worker", "b")
    assert hall.processes.trouble("worker") == "worker: locked"
    hall.now += 5
    hall.say("worker", "b")
    hall.now += 5
    assert hall.processes.trouble("worker") is None
    hall.now += 55
    assert hall.processes.trouble("worker") == "worker: it has said nothing for 60 s: is it running?"
    assert [(name, seconds) for name, seconds, _ in hall.processes.all()] == [("worker", 60)]


def test_while_nobody_can_be_heard_and_for_a_while_after_that_silence_means_nothing(hall: Hall) -> None:
    hall.say("worker")
    hall.now += 5
    hall.processes.listening(False)
    hall.now += 60
    assert hall.processes.trouble() is None
    hall.processes.listening(True)
    hall.now += 5
    assert hall.processes.trouble() is None
    hall.now += 2
    assert hall.processes.trouble() == "worker: it has said nothing for 7 s: is it running?"


def test_what_is_no_announcement_is_dropped(hall: Hall) -> None:
    hall.processes.hear(b'{"type": "process.state"}')
    assert hall.processes.all() == []


@pytest.mark.parametrize(
    ("exchange", "key", "words"),
    [
        ("dead", "summary", "summary.dead (exchange dead, key summary)"),
        ("events", "summary.lane.2", "summary.2 (exchange events, key summary.lane.2)"),
        ("events", "lane.2", "summary.2 and analytics.2 and search.2 (exchange events, key lane.2)"),
        ("retry.5s", "search.lane.0", "search.retry.5s (exchange retry.5s, key search.lane.0)"),
        ("changes", "summary.passed", "dead_letters.passed (exchange changes, key summary.passed)"),
        ("changes", "summary", "exchange changes, key summary"),
        ("changes", "x.summary.passed", "exchange changes, key x.summary.passed"),
        ("", "amq.gen-1", "queue amq.gen-1"),
    ],
)
def test_where_a_message_goes_is_said_with_the_queues_that_take_it(exchange: str, key: str, words: str) -> None:
    assert topology.destination(exchange, key) == words
