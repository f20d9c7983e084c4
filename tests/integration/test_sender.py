"""The sender gets one outcome for every command, whatever happens to the worker, the broker and the answers meanwhile."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from deploy.run.topology import declare
from deploy.sending.batches import CommandMessage, command_message
from deploy.sending.outcomes import Outcome
from deploy.sending.sender import CommandSender, UnansweredCommandsError
from deploy.servers import packages
from deploy.servers.private import PrivateServers, private_servers
from shared.messaging import topology

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(bool(packages.missing()), reason="the servers' programs are not on this machine"),
]


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateServers]:
    """Servers of our own: one of them is killed here."""
    with private_servers() as running:
        yield running


@pytest.fixture
async def url(private: PrivateServers) -> str:
    """A broker with the topology in place and no command waiting."""
    await declare(private.rabbitmq.url(), lanes=1)
    connection = await aio_pika.connect(private.rabbitmq.url())
    channel = await connection.channel()
    await (await channel.get_queue(topology.COMMAND_QUEUE)).purge()
    await connection.close()
    return private.rabbitmq.url()


class FakeWorker:
    """Answers as the worker does: accepts everything but ids that end in ``bad``, decides each id once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: Counter[str] = Counter()
        self.unanswered = 0
        self.most_waiting = 0
        self.ignore_first = False
        self.slow = 0.0
        self.stop_after: int | None = None
        self._channel: AbstractChannel | None = None

    async def start(self) -> None:
        connection = await aio_pika.connect_robust(self.url, fail_fast=False)
        self._connection = connection
        self._channel = await connection.channel()
        await self._channel.set_qos(1000)
        queue = await self._channel.declare_queue(topology.COMMAND_QUEUE, passive=True)
        await queue.consume(self._handle)

    async def stop(self) -> None:
        await self._connection.close()

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        body = json.loads(message.body)
        commands = body if isinstance(body, list) else [body]
        first_time = [command["id"] for command in commands if not self.received[command["id"]]]
        self.received.update(command["id"] for command in commands)
        self.unanswered += len(commands)
        self.most_waiting = max(self.most_waiting, self.unanswered)
        await asyncio.sleep(self.slow)
        self.unanswered -= len(commands)
        assert message.correlation_id
        assert message.message_id
        if not (self.ignore_first and first_time):
            answers = [outcome(command) for command in commands]
            reply = json.dumps(answers if isinstance(body, list) else answers[0]).encode()
            assert self._channel is not None
            await self._channel.default_exchange.publish(
                aio_pika.Message(reply, correlation_id=message.correlation_id), message.reply_to or "", mandatory=False
            )
        await message.ack()


def outcome(command: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {"command_id": command["id"], "command_type": command["type"]}
    if command["id"].endswith("stuck"):
        return {"type": "command.pending", "data": data | {"reason": "handler-failed", "message": "our fault"}}
    if command["id"].endswith("bad"):
        return {"type": "command.rejected", "data": data | {"code": "validation-failed", "message": "it is bad"}}
    return {
        "type": "command.accepted",
        "data": data | {"stream": f"orders/{command['id']}", "version": 1, "events": ["orders.order-placed"]},
    }


def some(count: int, suffix: str = "") -> Iterator[CommandMessage]:
    for number in range(count):
        yield command_message("orders.place-order", f"c-{number}{suffix}", {"n": number}, source="test")


@pytest.fixture
async def worker(url: str) -> AsyncIterator[FakeWorker]:
    fake = FakeWorker(url)
    await fake.start()
    yield fake
    await fake.stop()


async def test_every_command_gets_its_outcome_and_rejections_are_counted_by_code(worker: FakeWorker) -> None:
    outcomes: list[Outcome] = []
    tally = await CommandSender(worker.url).send([*some(250), *some(3, "-bad")], outcomes.append)
    assert (tally.sent, tally.accepted, tally.resent) == (253, 250, 0)
    assert tally.rejected == {"validation-failed": 3}
    assert tally.examples == {"validation-failed": "it is bad"}
    assert len(tally.latencies) == 253
    assert {one.command_id for one in outcomes} == set(worker.received)
    assert outcomes[0].stream == f"orders/{outcomes[0].command_id}"


async def test_no_more_commands_than_the_window_are_without_outcome(worker: FakeWorker) -> None:
    worker.slow = 0.02
    tally = await CommandSender(worker.url, window=60, batch_size=20).send(some(400))
    assert tally.accepted == 400
    assert 40 <= worker.most_waiting <= 60


async def test_a_command_without_an_answer_is_sent_again_under_the_same_id(worker: FakeWorker) -> None:
    worker.ignore_first = True
    tally = await CommandSender(worker.url, batch_size=10, resend_after_s=0.3).send(some(30))
    assert (tally.sent, tally.accepted, tally.resent) == (30, 30, 30)
    assert set(worker.received.values()) == {2}


async def test_a_single_command_is_sent_and_answered_in_the_structured_form(worker: FakeWorker) -> None:
    assert (await CommandSender(worker.url).send(some(1))).accepted == 1


async def test_nothing_to_send_is_nothing_to_wait_for(worker: FakeWorker) -> None:
    assert (await CommandSender(worker.url).send([])).sent == 0


async def test_a_sender_whose_commands_nobody_takes_says_so(url: str) -> None:
    with pytest.raises(UnansweredCommandsError, match="3 commands have no outcome yet; is the command service running"):
        await CommandSender(url, silence_timeout_s=1).send(some(3))


async def test_a_command_without_an_outcome_yet_is_sent_again_and_counted_as_nothing_else(worker: FakeWorker) -> None:
    sender = CommandSender(worker.url, batch_size=10, resend_after_s=0.2, silence_timeout_s=2)
    with pytest.raises(
        UnansweredCommandsError, match="1 commands have no outcome yet; last error: c-0stuck: our fault"
    ):
        await sender.send([*some(5), *some(1, "stuck")])
    assert (sender.tally.sent, sender.tally.accepted, sender.tally.rejected) == (6, 5, {})
    assert worker.received["c-0stuck"] > 1


async def test_a_sender_that_cannot_reach_the_broker_says_why() -> None:
    sender = CommandSender("amqp://nobody:wrong@127.0.0.1:1/", silence_timeout_s=1)
    with pytest.raises(UnansweredCommandsError, match="Connect"):
        await sender.send(some(3))


async def test_what_fails_while_commands_are_made_reaches_the_caller(worker: FakeWorker) -> None:
    def failing() -> Iterator[CommandMessage]:
        yield from some(150)
        raise ValueError("the file ends here")

    with pytest.raises(ValueError, match="the file ends here"):
        await CommandSender(worker.url).send(failing())


class Counted:
    """How often each command was answered; ``enough`` is set at the given number of answers."""

    def __init__(self, enough: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.enough = asyncio.Event()
        self._wanted = enough

    def __call__(self, outcome: Outcome) -> None:
        self.outcomes[outcome.command_id] += 1
        if self.outcomes.total() == self._wanted:
            self.enough.set()


async def test_all_outcomes_come_although_the_broker_is_killed_in_between(
    private: PrivateServers, url: str, worker: FakeWorker
) -> None:
    worker.slow = 0.01
    counted = Counted(500)
    sender = CommandSender(url, window=100, batch_size=10, resend_after_s=2, silence_timeout_s=60)
    sending = asyncio.create_task(sender.send(some(3000), counted))
    await asyncio.wait_for(counted.enough.wait(), 20)
    await asyncio.to_thread(private.rabbitmq.kill)
    await asyncio.to_thread(private.rabbitmq.start)
    await asyncio.to_thread(private.rabbitmq.wait_ready)
    tally = await asyncio.wait_for(sending, 60)
    assert tally.accepted == tally.sent == 3000
    assert set(counted.outcomes.values()) == {1}
    assert set(worker.received) == set(counted.outcomes)


async def test_a_frozen_broker_is_waited_for(private: PrivateServers, url: str, worker: FakeWorker) -> None:
    worker.slow = 0.01
    counted = Counted(100)
    sender = CommandSender(url, window=100, batch_size=10, resend_after_s=1, silence_timeout_s=60)
    sending = asyncio.create_task(sender.send(some(500), counted))
    await asyncio.wait_for(counted.enough.wait(), 20)
    private.rabbitmq.freeze()
    await asyncio.sleep(2)
    assert not sending.done()
    private.rabbitmq.thaw()
    assert (await asyncio.wait_for(sending, 60)).accepted == 500
    assert set(counted.outcomes.values()) == {1}
