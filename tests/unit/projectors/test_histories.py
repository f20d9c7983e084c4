"""Whatever happens on the way, the read model ends as the pure fold of the event store, and every event is accounted for.

A broker that duplicates, reorders and loses; a process that crashes between a commit and everything after it; a projection that
fails for a while; a store that goes down; an operator who replays and discards. In the end everything heals, and we compare.
"""

import asyncio
import json
import random
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from projectors.applying import Applier
from projectors.decoding import Arrived, Unreadable
from projectors.projection import Event, HoldStatus, StoreUnavailableError
from shared import topology
from shared.broker import Outgoing
from tests.memory_store import MemoryStore

T = TypeVar("T")
STREAMS = ("orders/a", "orders/b", "customers/c")
START = datetime(2026, 3, 1, tzinfo=UTC)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Histories(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = START
        self.store = MemoryStore()
        self.events: dict[str, int] = dict.fromkeys(STREAMS, 0)
        self.queue: list[tuple[str, int]] = []
        self.delayed: list[tuple[str, int]] = []
        self.discarded: set[tuple[str, int]] = set()
        self.applier = Applier("memory", self.store, tiers=topology.RETRY_TIERS, clock=lambda: self.now)

    # What happens in the world.

    @rule(stream=st.sampled_from(STREAMS), count=st.integers(1, 4))
    def events_are_published(self, stream: str, count: int) -> None:
        for _ in range(count):
            self.events[stream] += 1
            self.queue.append((stream, self.events[stream]))

    @rule(count=st.integers(1, 6), crash=st.booleans())
    def some_are_delivered(self, count: int, crash: bool) -> None:
        """``crash``: after the commit, before anything is published or acknowledged."""
        batch = self.queue[:count]
        try:
            outgoing = self.deliver(batch)
        except StoreUnavailableError:
            return
        if not crash:
            del self.queue[: len(batch)]
            self.carry(outgoing)

    @rule()
    def the_queue_is_shuffled(self) -> None:
        self.random.shuffle(self.queue)

    @precondition(lambda self: self.queue)
    @rule(copies=st.integers(1, 3))
    def a_message_is_duplicated(self, copies: int) -> None:
        self.queue += [self.random.choice(self.queue)] * copies

    @precondition(lambda self: self.queue)
    @rule()
    def a_message_is_lost(self) -> None:
        self.queue.pop(self.random.randrange(len(self.queue)))

    @rule(stream=st.sampled_from(STREAMS))
    def a_projection_starts_or_stops_failing(self, stream: str) -> None:
        self.store.failing ^= {stream}

    @rule()
    def the_store_goes_down_or_comes_back(self) -> None:
        self.store.down = not self.store.down

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.queue += self.delayed
        self.delayed = []
        if not self.store.down:
            for stream, applied in run(self.store.overdue(self.now, 100)):
                self.resend(stream, applied + 1)

    @rule(stream=st.sampled_from(STREAMS))
    def an_operator_replays(self, stream: str) -> None:
        self.resend(stream, self.store.applied.get(stream, 0) + 1)

    @rule(stream=st.sampled_from(STREAMS))
    def an_operator_discards(self, stream: str) -> None:
        hold = self.store.holds.get(stream)
        if hold is None or hold.status is not HoldStatus.DEAD or self.store.down:
            return
        before = self.store.applied.get(stream, 0)
        stepped = run(self.applier.step_over(stream, hold.version))
        assert stepped is not None
        assert run(self.applier.step_over(stream, hold.version)) is None
        self.carry(stepped.outgoing)
        assert self.store.applied[stream] == before + 1
        self.discarded.add((stream, hold.version))

    # What must be true in the end.

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.store.down = False
        self.store.failing = set()
        for stream in STREAMS:
            # Heads are compared when a lane is taken over: what was lost at a stream's end shows.
            if self.events[stream]:
                self.carry(run(self.applier.compare({stream: self.events[stream]})).outgoing)
            hold = self.store.holds.get(stream)
            if hold is not None:
                self.resend(stream, hold.version)
        for _ in range(200):
            self.now += timedelta(seconds=60)
            self.queue += self.delayed
            self.delayed = []
            for stream, applied in run(self.store.overdue(self.now, 100)):
                self.resend(stream, applied + 1)
            if not self.queue:
                break
            batch, self.queue = self.queue, []
            self.carry(self.deliver(batch))
        assert not self.store.holds
        for stream, count in self.events.items():
            assert self.store.applied.get(stream, 0) == count
            expected = [f"{stream}@{v}" for v in range(1, count + 1) if (stream, v) not in self.discarded]
            assert self.store.data.get(stream, []) == expected

    def deliver(self, batch: list[tuple[str, int]]) -> list[Outgoing]:
        return run(self.applier.apply([arrived(stream, version) for stream, version in batch])).outgoing

    def carry(self, outgoing: list[Outgoing]) -> None:
        """What the broker does with what the projector publishes."""
        for message in outgoing:
            body = json.loads(message.body)
            if message.exchange == topology.CONTROL:
                for item in body["data"]["streams"]:
                    self.resend(item["stream"], item["version"])
            elif message.exchange.startswith("retry."):
                self.delayed.append((body["subject"], body["streamversion"]))
            elif message.exchange == topology.DEAD:
                hold = self.store.holds[body["subject"]]
                assert hold.status is HoldStatus.DEAD
                assert hold.attempts > len(topology.RETRY_TIERS)
            else:
                assert message.exchange == topology.CHANGES

    def resend(self, stream: str, first: int) -> None:
        self.queue += [(stream, version) for version in range(first, self.events[stream] + 1)]


def arrived(stream: str, version: int) -> Arrived:
    event = Event(f"{stream}@{version}", "test.happened", stream, version, START, Unreadable(), lane=0)
    return Arrived(event, {"subject": stream, "streamversion": version})


Histories.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestHistories = Histories.TestCase
