"""An in-memory simulation around real projectors: their store, event store, relay, broker and clock.

Every call of the store and every published message is a step. Between any two steps the process may die, or another worker may take steps.
Simulated time advances when all tasks wait, and costs no real time.
"""

import asyncio
import json
import selectors
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import uuid4

from command_service.publishing.resend import COMMIT_MARGIN
from projectors.generations.hosting import Generations, HostedGeneration
from projectors.rebuild.pacing import LivePriority
from projectors.runtime.applying import Applier
from projectors.runtime.change_publisher import ChangePublisher
from projectors.runtime.consumer import Projector
from projectors.runtime.gating import behind
from projectors.runtime.measuring import LagMeter
from projectors.runtime.options import Options
from projectors.stores.port import Commit, HoldStatus, Position, StoreUnavailableError, Turn
from shared.contracts.registry import KINDS
from shared.messages.control import INQUIRE, STEP_OVER, Inquire, Request, StepOver, StreamFrom
from shared.messages.envelope import CONTENT_TYPE, pack
from shared.messages.lanes import Heads, Heartbeat
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.runtime.outage import OutageRetry
from shared.views.generations import Generation
from tests.memory_registry import MemoryRegistry
from tests.shop import NOON
from tests.unit.projectors.event_store import STREAMS, EventStore, Stored
from tests.unit.projectors.folded_store import FoldedStore

NAME: Final = "summary"
LANES: Final = 2
NEVER: Final = 10**9


class Crash(BaseException):
    """The process has died: none of its code continues or catches this."""


class _NoWaiting(selectors.DefaultSelector):
    """Returns from a wait at once and advances the simulated time by the wait's length."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("all tasks wait, and no timer is set")
        self.passed += max(timeout, 0.0)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop with simulated time."""

    def __init__(self) -> None:
        self._no_waiting = _NoWaiting()
        super().__init__(self._no_waiting)

    def time(self) -> float:
        return self._no_waiting.passed

    def pass_time(self, seconds: float) -> None:
        self._no_waiting.passed += seconds


@dataclass(eq=False)
class Message:
    """A message in a queue of the projection: a lane's, or its control queue."""

    queue: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    routing_key: str = ""
    deliveries: int = 0

    def copied(self) -> "Message":
        return Message(self.queue, self.body, self.headers, self.routing_key)


class Worker:
    """One process of the projector: its consumer, publisher and store, which act on the simulation. It dies after ``lives_for`` steps."""

    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        self.lives_for = NEVER
        self.acknowledged: set[int] = set()
        self._batch: list[Delivery] = []
        self._stopping = asyncio.Event()
        unchecked: Any = self
        options = Options(lanes=LANES, retries=len(topology.RETRY_TIERS))
        self._outages = OutageRetry(
            NAME,
            lambda error: isinstance(error, StoreUnavailableError),
            stopping=self._stopping,
            longest_pause_s=options.longest_pause_s,
        )
        generations = Generations(simulation.registry, self._hosted, self._outages, simulation.kinds)
        self._projector = Projector(
            NAME,
            generations,
            unchecked,
            unchecked,
            self._outages,
            options,
            lag=LagMeter(),
            live_priority=LivePriority(),
            clock=lambda: simulation.now,
        )

    def _hosted(self, generation: Generation) -> HostedGeneration:
        store: Any = self
        change_publisher: Any = ChangePublisher(NAME, store)
        applier = Applier(
            NAME,
            store,
            tiers=topology.RETRY_TIERS,
            clock=lambda: self.simulation.now,
            publish_changes=change_publisher.publish,
        )
        return HostedGeneration(generation, store, applier)

    async def handle(self, messages: Sequence[Message]) -> None:
        """Handle these messages, sweep what is overdue, and wait for more. Raises Crash."""
        self._batch = [_delivery(message, tag) for tag, message in enumerate(messages)]
        self.acknowledged = set()
        self._stopping.clear()
        await self._projector.run(self._stopping)

    async def step(self) -> None:
        for _ in range(self.simulation.random.choice((0, 0, 1, 2))):
            await asyncio.sleep(0)
        if self.lives_for <= 0:
            raise Crash
        self.lives_for -= 1

    # The consumer.

    async def take(self, limit: int, *, size: float, timeout: float) -> list[Delivery]:  # noqa: ASYNC109 - as the real one
        batch, self._batch = self._batch, []
        if not batch:
            self._stopping.set()
        return batch

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        await self.step()
        self.acknowledged |= {delivery.tag for delivery in deliveries}

    def silent_s(self, _: str) -> float:
        return 0.0

    # The publisher.

    async def publish_all(self, messages: Sequence[Outgoing], *, sleep: object) -> None:
        for message in messages:
            await self.step()
            self.simulation.route(message)
        await self.step()

    async def publish(self, message: Outgoing) -> None:
        """Change messages: no query waits for them here."""
        assert not message.mandatory

    # The store.

    async def open(self) -> None:
        self._fail_if_unavailable()

    async def close(self) -> None:
        pass

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        await self.step()
        self._fail_if_unavailable()
        found = await self.simulation.store.positions(streams)
        await self.step()
        return found

    async def behind(self, heads: Mapping[str, int]) -> dict[str, Position]:
        return behind(heads, await self.positions(list(heads)))

    async def commit(self, commit: Commit) -> None:
        await self.step()
        self._fail_if_unavailable()
        if any(advance.events and advance.stream in self.simulation.deadly for advance in commit.advances):
            raise Crash
        await self.simulation.store.commit(commit)
        await self.step()

    async def as_of(self) -> dict[int, datetime | None]:
        await self.step()
        self._fail_if_unavailable()
        return await self.simulation.store.as_of()

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        await self.step()
        self._fail_if_unavailable()
        found = await self.simulation.store.overdue(now, limit)
        await self.step()
        return found

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        await self.step()
        self._fail_if_unavailable()
        return await self.simulation.store.unreported(now, limit)

    async def held_by_status(self) -> Mapping[HoldStatus, int]:
        return await self.simulation.store.held_by_status()

    async def release_others(self, kinds: Collection[str]) -> None:
        self._fail_if_unavailable()
        await self.simulation.store.release_others(kinds)

    async def complete(self, turn: Turn) -> None:
        await self.step()
        await self.simulation.store.complete(turn)

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        await self.step()
        self._fail_if_unavailable()
        return await self.simulation.store.discards(after, limit)

    def _fail_if_unavailable(self) -> None:
        if self.simulation.unavailable_calls > 0:
            self.simulation.unavailable_calls -= 1
            raise StoreUnavailableError("unavailable")


class Simulation:
    def __init__(self, random: Random, kinds: Sequence[str] = KINDS) -> None:
        """``kinds``: the kinds of stream that the projection reads."""
        self.random = random
        self.kinds = kinds
        self.loop = Loop()
        self.store = FoldedStore()
        self.registry = MemoryRegistry(clock=lambda: self.now)
        self.events = EventStore(random)
        self.queues: dict[str, list[Message]] = {name: [] for name in QUEUES}
        self.delayed: list[tuple[datetime, Message]] = []
        self.requests: list[dict[str, Any]] = []
        """Requests to the command service that are not yet answered."""
        self.letters: set[tuple[str, int]] = set()
        self.failures: Counter[tuple[str, int]] = Counter()
        """(stream, version) → how many dead letters it has had."""
        self.resent: set[tuple[str, int]] = set()
        """(stream, first version) of each resend that the projection has requested."""
        self.passed: set[tuple[str, int]] = set()
        self.deadly: set[str] = set()
        """Streams whose events kill the process that applies them."""
        self.unavailable_calls = 0
        """How many of the next store calls fail because the store is unavailable."""
        self.beats: dict[int, datetime] = {}
        self._epoch = 0
        self._numbers = dict.fromkeys(range(LANES), 0)
        self.workers = [self.loop.run_until_complete(self._new_worker()) for _ in range(2)]

    def close(self) -> None:
        self.loop.close()

    @property
    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.loop.time())

    # The relay and the command service.

    def publish(self, stream: str, count: int, *, unknown: bool = False) -> None:
        """Append ``count`` events and publish them in one message."""
        new = [stored for _ in range(count) if (stored := self._append(stream, unknown=unknown)) is not None]
        if new:
            self._publish_numbered(lane_of(stream), _packed(new))

    def beat(self) -> None:
        self.loop.pass_time(0.001)
        for lane in range(LANES):
            self.beats[lane] = self.now
            beat = Heartbeat(id=f"beat/{self.now}", source="tests", time=self.now, lane=lane, asof=self.now)
            self._publish_numbered(lane, beat.model_dump_json().encode())

    def change_relay(self) -> None:
        self._epoch += 1
        self._numbers = dict.fromkeys(range(LANES), 0)

    def answer(self, request: dict[str, Any]) -> None:
        data = request["data"]
        if request["type"] == "control.resend":
            for item in data["streams"]:
                history = self.events.streams[item["stream"]][item["version"] - 1 :]
                size = self.random.randint(1, 3)
                headers = {topology.AUTOMATIC_HEADER: True} if request.get("automatic") else {}
                for start in range(0, len(history), size):
                    self._put(lane_queue(lane_of(item["stream"])), _packed(history[start : start + size]), headers)
            return
        assert request["type"] == "control.heads"
        since = datetime.fromisoformat(data["since"]) - COMMIT_MARGIN if data["since"] else None
        changed = [
            (stream, history[-1].event.version)
            for stream, history in self.events.streams.items()
            if history and lane_of(stream) == data["lane"] and (since is None or history[-1].at >= since)
        ]
        pages = [changed[:1], changed[1:]] if len(changed) > 1 else [changed]
        for page in pages:
            heads = Heads(
                id=f"{request['id']}/{len(page)}",
                source="tests",
                time=self.now,
                lane=data["lane"],
                asked=request["id"],
                streams=tuple(page),
                last=page is pages[-1],
            )
            self._put(lane_queue(data["lane"]), heads.model_dump_json().encode())

    # Operators.

    def replay(self, stream: str) -> None:
        hold = self.store.holds.get(stream)
        version = hold.version if hold is not None else 1
        self.requests.append({"type": "control.resend", "data": {"streams": [{"stream": stream, "version": version}]}})

    def discard(self, stream: str, version: int) -> None:
        step_over = StepOver(projection=NAME, stream=stream, version=version, actor="a test", reason="in the way")
        self._send_request(topology.discard_key(NAME), Request[StepOver](**self._envelope(STEP_OVER), data=step_over))

    def inquire(self, places: set[tuple[str, int]]) -> None:
        """Ask whether the projection has advanced past these events."""
        events = tuple(StreamFrom(stream=stream, version=version) for stream, version in sorted(places))
        question = Inquire(projection=NAME, events=events)
        self._send_request(topology.inquire_key(NAME), Request[Inquire](**self._envelope(INQUIRE), data=question))

    # The broker.

    def route(self, message: Outgoing) -> None:
        body = json.loads(message.body)
        if message.exchange == topology.CONTROL:
            self.resent |= {(item["stream"], item["version"]) for item in body["data"].get("streams", ())}
            self.requests.append(body | {"automatic": message.headers.get(topology.AUTOMATIC_HEADER)})
        elif message.exchange == topology.DEAD:
            place = str(message.headers["tidemark-stream"]), int(message.headers["tidemark-version"])
            self.letters.add(place)
            self.failures[place] += 1
        elif message.exchange == topology.CHANGES:
            self.passed |= {(event["stream"], event["version"]) for event in body["data"]["events"]}
        else:
            delays = {topology.retry_exchange(tier): delay for tier, delay in topology.RETRY_TIERS}
            due = self.now + timedelta(milliseconds=delays[message.exchange])
            lane = int(message.routing_key.rpartition(".")[2])
            self.delayed.append((due, Message(lane_queue(lane), message.body, message.headers)))

    def empty_the_store(self) -> None:
        """Empty the store; it stays available."""
        failing = self.store.failing
        self.store = FoldedStore()
        self.store.failing = failing

    def lose(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.queues[message.queue].remove(message)

    def pass_time(self, seconds: float) -> None:
        self.loop.pass_time(seconds)
        for due, message in [*self.delayed]:
            if due <= self.now:
                self.delayed.remove((due, message))
                self.queues[message.queue].append(message)

    def deliver(
        self, number: int, messages: Sequence[Message], *, lives_for: int = NEVER, purged: bool = False
    ) -> bool:
        """Deliver to one worker while the other is idle. Returns whether the worker has died."""
        return bool(self.deliver_both({number: (messages, lives_for)}, purged=purged))

    def deliver_both(
        self,
        batches: Mapping[int, tuple[Sequence[Message], int]],
        *,
        lost: int | None = None,
        purged: bool = False,
    ) -> list[int]:
        """Deliver to workers that run concurrently. Returns the numbers of those that died.

        ``lost``: the worker whose acknowledgements are lost. ``purged``: a dead worker's messages are not redelivered.
        """
        died = self.loop.run_until_complete(self._handle(batches))
        for number, (messages, _) in batches.items():
            worker = self.workers[number]
            if number == lost:
                continue
            for tag, message in enumerate(messages):
                queue = self.queues[message.queue]
                if tag in worker.acknowledged and message in queue:
                    queue.remove(message)
                elif number in died and message in queue:
                    message.deliveries += 1
                    if purged or message.deliveries > topology.DELIVERY_LIMIT:
                        self.lose([message])
        for number in died:
            self.workers[number] = self.loop.run_until_complete(self._new_worker())
        return died

    async def _handle(self, batches: Mapping[int, tuple[Sequence[Message], int]]) -> list[int]:
        """The numbers of the workers that died."""
        runs = []
        for number, (messages, lives_for) in batches.items():
            self.workers[number].lives_for = lives_for
            runs.append(asyncio.create_task(self.workers[number].handle(messages)))
        results = await asyncio.gather(*runs, return_exceptions=True)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for result in results:
            if result is not None and not isinstance(result, Crash):
                raise result
        return [number for number, result in zip(batches, results, strict=True) if result is not None]

    async def _new_worker(self) -> Worker:
        return Worker(self)

    def _append(self, stream: str, *, unknown: bool) -> Stored | None:
        self.loop.pass_time(0.001)
        return self.events.append(stream, self.now, unknown=unknown)

    def _publish_numbered(self, lane: int, body: bytes) -> None:
        self._numbers[lane] += 1
        headers = {topology.EPOCH_HEADER: f"relay {self._epoch}", topology.SEQUENCE_HEADER: self._numbers[lane]}
        self._put(lane_queue(lane), body, headers)

    def _put(self, queue: str, body: bytes, headers: Mapping[str, Any] | None = None, key: str = "") -> None:
        self.queues[queue].append(Message(queue, body, headers or {}, key))

    def _send_request(self, key: str, request: Request[Any]) -> None:
        self._put(topology.control_queue(NAME), request.model_dump_json().encode(), key=key)

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": f"test/{uuid4()}", "source": "tests", "type": kind, "time": self.now}


def lane_of(stream: str) -> int:
    return topology.lane_of(stream, LANES)


def lane_queue(lane: int) -> str:
    return topology.lane_queue(NAME, lane)


QUEUES: Final = (*map(lane_queue, range(LANES)), topology.control_queue(NAME))
assert {lane_of(stream) for stream in STREAMS} == set(range(LANES))


def _packed(events: Sequence[Stored]) -> bytes:
    return events[0].body if len(events) == 1 else pack([stored.body for stored in events])


def _delivery(message: Message, tag: int) -> Delivery:
    no_channel: Any = None
    return Delivery(
        queue=message.queue,
        body=message.body,
        headers={**message.headers, "x-delivery-count": message.deliveries},
        content_type=CONTENT_TYPE,
        routing_key=message.routing_key,
        reply_to="",
        correlation_id=None,
        redelivered=message.deliveries > 0,
        tag=tag,
        channel=no_channel,
    )
