"""What is made of what other processes say of themselves, and of their silence."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from shared.messages.changes import PROCESS_STATE, ProcessAnnounced, ProcessState
from shared.messaging import topology
from shared.messaging.announcing import QUEUE_ARGUMENTS, Announcer, Processes
from shared.messaging.broker import BrokerUnavailableError, Outgoing, Publisher
from shared.runtime.process import Process


class Simulation:
    """Processes that announce themselves, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.processes = Processes(lambda: self.now)

    def announce(
        self, process: str, instance: str = "a", troubles: Mapping[str, str] | None = None, *, leaving: bool = False
    ) -> None:
        state = ProcessState(process=process, instance=instance, troubles=troubles or {}, leaving=leaving)
        envelope = ProcessAnnounced(id="i", source="tests", type=PROCESS_STATE, time=datetime.now(UTC), data=state)
        self.processes.handle_announcement(envelope.model_dump_json().encode())

    def pass_by(self, seconds: int, *instances: str) -> None:
        """Time goes by, while these workers go on announcing themselves."""
        for _ in range(seconds):
            self.now += 1
            for instance in instances:
                self.announce("worker", instance)

    @property
    def worker(self) -> str | None:
        return self.processes.trouble("worker")


@pytest.fixture
def simulation() -> Simulation:
    return Simulation()


def test_what_a_process_says_is_wrong_is_so_until_it_says_otherwise(simulation: Simulation) -> None:
    simulation.announce("worker", troubles={"database": "locked"})
    assert simulation.processes.trouble("worker") == "worker: locked"
    assert simulation.processes.trouble("relay") is None
    assert simulation.processes.trouble() == "worker: locked"
    simulation.announce("worker")
    assert simulation.processes.trouble("worker") is None


def test_a_component_can_be_left_out(simulation: Simulation) -> None:
    simulation.announce("worker", troubles={QUEUE_ARGUMENTS: "made otherwise"})
    assert simulation.processes.trouble("worker") == "worker: made otherwise"
    assert simulation.processes.trouble("worker", ignoring={QUEUE_ARGUMENTS}) is None


def test_who_has_been_heard_and_is_silent_is_not_well_and_who_never_was_is_not_judged(simulation: Simulation) -> None:
    simulation.announce("worker")
    simulation.now += 6
    assert simulation.processes.trouble("worker", "relay") is None
    simulation.now += 2
    assert simulation.processes.trouble("worker", "relay") == "worker: it has said nothing for 8 s: is it running?"


def test_of_several_instances_each_trouble_counts(simulation: Simulation) -> None:
    simulation.announce("worker", "a", troubles={"database": "locked"})
    simulation.announce("worker", "b")
    assert simulation.worker == "worker: locked"


def test_one_of_several_that_falls_silent_is_reported_until_it_is_heard_again(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.pass_by(6, "b")
    assert simulation.worker is None
    simulation.pass_by(2, "b")
    assert simulation.worker == "worker: one of 2 processes has said nothing for 8 s: is it running?"
    simulation.announce("worker", "a")
    assert simulation.worker is None


def test_each_of_several_that_fall_silent_is_reported(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b", "c")
    simulation.pass_by(1, "b", "c")
    simulation.pass_by(8, "c")
    words = "worker: one of 3 processes has said nothing for {} s: is it running?"
    assert simulation.worker == f"{words.format(8)}; {words.format(9)}"


def test_a_silent_one_is_reported_until_others_have_taken_over_from_it(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.pass_by(30, "b")
    assert simulation.worker == "worker: one of 2 processes has said nothing for 30 s: is it running?"
    simulation.pass_by(1, "b")
    assert simulation.worker is None
    assert [(name, seconds) for name, seconds, _ in simulation.processes.all()] == [("worker", 0)]


def test_where_all_of_a_name_are_silent_the_last_one_heard_is_reported_for_ever(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.pass_by(5, "b")
    simulation.pass_by(60)
    assert simulation.worker == "worker: it has said nothing for 60 s: is it running?"
    assert [(name, seconds) for name, seconds, _ in simulation.processes.all()] == [("worker", 60)]
    simulation.announce("worker", "b")
    assert simulation.worker is None


def test_one_that_said_goodbye_is_not_missed_beside_others(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.announce("worker", "a", leaving=True)
    simulation.pass_by(1, "b")
    assert len(simulation.processes.all()) == 1
    simulation.pass_by(8, "b")
    assert simulation.worker is None


def test_the_last_one_of_a_name_that_said_goodbye_is_missed_until_another_comes(simulation: Simulation) -> None:
    simulation.announce("worker", "a", leaving=True)
    simulation.pass_by(8)
    assert simulation.worker == "worker: it has said nothing for 8 s: is it running?"
    simulation.announce("worker", "b")
    assert simulation.worker is None


def test_one_that_was_killed_is_replaced_by_one_that_came_after_it(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.pass_by(2, "b")
    simulation.pass_by(8, "b", "c")
    assert simulation.worker is None


def test_one_that_came_before_the_silent_one_spoke_last_does_not_replace_it(simulation: Simulation) -> None:
    simulation.pass_by(1, "a")
    simulation.pass_by(1, "a", "b")
    simulation.pass_by(8, "b")
    assert simulation.worker == "worker: one of 2 processes has said nothing for 8 s: is it running?"


def test_a_new_one_replaces_one_silent_one_and_no_second(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.pass_by(8, "c")
    assert simulation.worker == "worker: one of 2 processes has said nothing for 8 s: is it running?"
    simulation.pass_by(1, "c", "d")
    assert simulation.worker is None


def test_one_that_is_killed_again_and_again_is_replaced_every_time(simulation: Simulation) -> None:
    for instance in "abcdef":
        simulation.pass_by(4, "standby", instance)
        assert simulation.worker is None


def test_a_restart_just_before_the_listener_lost_its_connection_is_still_a_replacement(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.pass_by(2, "b", "c")
    for listening in (False, True):
        simulation.processes.listening(listening)
        simulation.now += 1
    simulation.pass_by(8, "b", "c")
    assert simulation.worker is None


def test_how_long_the_listener_heard_nobody_counts_for_no_silence(simulation: Simulation) -> None:
    simulation.pass_by(1, "a", "b")
    simulation.processes.listening(False)
    simulation.pass_by(60)
    simulation.processes.listening(True)
    simulation.pass_by(6, "b")
    assert simulation.worker is None
    simulation.pass_by(1, "b")
    assert simulation.worker == "worker: one of 2 processes has said nothing for 7 s: is it running?"


def test_while_nobody_can_be_heard_and_for_a_while_after_that_silence_means_nothing(simulation: Simulation) -> None:
    simulation.announce("worker")
    simulation.now += 5
    simulation.processes.listening(False)
    simulation.now += 60
    assert simulation.processes.trouble() is None
    simulation.processes.listening(True)
    simulation.now += 5
    assert simulation.processes.trouble() is None
    simulation.now += 2
    assert simulation.processes.trouble() == "worker: it has said nothing for 7 s: is it running?"


def test_what_is_no_announcement_is_dropped(simulation: Simulation) -> None:
    simulation.processes.handle_announcement(b'{"type": "process.state"}')
    assert simulation.processes.all() == []


class Broker:
    """Takes what is published; ``fails`` or ``hangs`` once it is told to."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.fails = self.hangs = False

    async def publish(self, message: Outgoing) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise BrokerUnavailableError("the connection died")
        self.taken.append(json.loads(message.body)["data"])


async def ended(broker: Broker, *, told_to: bool = True) -> int:
    """The exit code of a worker that announces itself once, and then is told to stop, or ends by itself."""
    announcer, process = Announcer("worker", cast("Publisher", broker)), Process("worker")

    async def work() -> None:
        announcer.announce({"database": "locked"})
        await asyncio.sleep(0)
        if told_to:
            process.stopping.set()

    return await process.run({"work": work}, background={}, probes={"start": lambda: "not yet"}, announcer=announcer)


async def test_a_process_that_is_told_to_stop_says_goodbye_last_and_older_listeners_can_read_what_it_said_before() -> (
    None
):
    broker = Broker()
    assert await ended(broker) == 0
    before, goodbye = broker.taken
    assert before.keys() == {"process", "instance", "troubles"}
    assert goodbye == {"process": "worker", "instance": before["instance"], "troubles": {}, "leaving": True}


async def test_a_process_whose_task_ended_says_no_goodbye() -> None:
    broker = Broker()
    assert await ended(broker, told_to=False) == 1
    assert not any("leaving" in said for said in broker.taken)


async def test_a_process_that_never_announced_itself_says_no_goodbye() -> None:
    broker = Broker()
    await Announcer("worker", cast("Publisher", broker)).leave()
    assert broker.taken == []


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_a_goodbye_that_the_broker_does_not_take_neither_fails_nor_holds_up_the_stop(fault: str) -> None:
    broker = Broker()
    setattr(broker, fault, True)
    async with asyncio.timeout(2):
        assert await ended(broker) == 0
    assert broker.taken == []


@pytest.mark.parametrize(
    ("exchange", "key", "words"),
    [
        ("dead", "summary", "summary.dead (exchange dead, key summary)"),
        ("events", "summary.lane.2", "summary.2 (exchange events, key summary.lane.2)"),
        (
            "events",
            "lane.2",
            f"{' and '.join(f'{name}.2' for name in topology.SUBSCRIBERS)} (exchange events, key lane.2)",
        ),
        ("retry.5s", "search.lane.0", "search.retry.5s (exchange retry.5s, key search.lane.0)"),
        ("changes", "summary.passed", "dead_letters.passed (exchange changes, key summary.passed)"),
        ("changes", "summary", "exchange changes, key summary"),
        ("changes", "x.summary.passed", "exchange changes, key x.summary.passed"),
        ("", "amq.gen-1", "queue amq.gen-1"),
    ],
)
def test_where_a_message_goes_is_said_with_the_queues_that_take_it(exchange: str, key: str, words: str) -> None:
    assert topology.destination(exchange, key) == words
