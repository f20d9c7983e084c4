"""Whatever happens on the way, a generation that is built from history and live events ends as the pure fold of the event store.

Live events and pages of history in any mixture, some lost, doubled or shuffled; a process that dies after a commit and before everything
else, and has forgotten which page it was at; live events of the first moments that this process did not yet apply to the generation; a
projection that fails for a while; events that operators have discarded. In the end history is in, the heads are compared, and what is
asked for comes.
"""

import asyncio
import json
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from projectors.generations.registry import AppliedPage
from projectors.generations.roles import Role
from projectors.rebuild.history import Cursor, HistoryPages
from projectors.runtime.applying import Applier
from projectors.runtime.decoding import ArrivedEvent, Unreadable
from projectors.runtime.retry import LETTER_AFTER
from projectors.stores.port import UNREPORTED, Event, HoldStatus
from shared.contracts.registry import KINDS
from shared.messages.lanes import HistoryPage
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.views.generations import Generation
from tests.memory_registry import MemoryRegistry
from tests.memory_store import MemoryStore
from tests.shop import NOON

T = TypeVar("T")
STREAMS = ("customers/c", "orders/a", "orders/b")
A_STREAM = st.sampled_from(STREAMS)
NUMBER = 2
MOST_TWICE = 50
"""Messages: again and again without a bound, they would become more than any machine can hold."""


@dataclass(frozen=True)
class Portion:
    """Some events of a page of history, in one message."""

    asked: str
    events: tuple[Cursor, ...]


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class RebuildHistories(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32), before=st.lists(st.tuples(A_STREAM, st.integers(1, 5)), max_size=6))
    def begin(self, seed: int, before: list[tuple[str, int]]) -> None:
        self.random = random.Random(seed)
        self.now = NOON
        self.events = dict.fromkeys(STREAMS, 0)
        self.discarded: set[Cursor] = set()
        for stream, count in before:
            self.events[stream] += count
        self.registry = MemoryRegistry(clock=lambda: self.now)
        self.store = MemoryStore()
        for stream, count in self.events.items():
            if count and self.random.random() < 0.3:
                self.discard((stream, self.random.randint(1, count)))
        run(self.registry.begin(NUMBER, kinds=KINDS, rate=None, by="a test"))
        self.live: list[Cursor] = []
        self.history: list[HistoryPage | Portion] = []
        self.to_be_noted: list[AppliedPage] = []
        self.requests: list[Cursor] = []
        self.asked = 0
        self.start_anew()
        self.requests.append(("", 0))

    # What happens in the world.

    @rule(stream=A_STREAM, count=st.integers(1, 4), applied_elsewhere=st.booleans())
    def events_are_published(self, stream: str, count: int, applied_elsewhere: bool) -> None:
        """``applied_elsewhere``: by a process that has not heard of the generation yet; only heads bring these to light."""
        for _ in range(count):
            self.events[stream] += 1
            if not (applied_elsewhere and not self.at.done):
                self.live.append((stream, self.events[stream]))

    @rule(count=st.integers(1, 6), crash=st.booleans())
    def live_events_are_delivered(self, count: int, crash: bool) -> None:
        batch = self.live[:count]
        outgoing = self.apply(batch)
        if crash:
            self.start_anew()
        else:
            del self.live[: len(batch)]
            self.carry(outgoing)

    @rule(size=st.integers(1, 7))
    def the_command_service_answers(self, size: int) -> None:
        if not self.requests:
            return
        after = self.requests.pop(0)
        rest = [place for place in self.stored() if place > after]
        page, self.asked = rest[:size], self.asked + 1
        ends = {place: self.marker(place, after, page, done=len(page) < size) for place in ("begin", "end")}
        self.history.append(ends["begin"])
        while page:
            part = self.random.randint(1, 3)
            self.history.append(Portion(str(self.asked), tuple(page[:part])))
            del page[:part]
        self.history.append(ends["end"])

    @rule(count=st.integers(1, 5), crash=st.booleans())
    def history_is_delivered(self, count: int, crash: bool) -> None:
        for _ in range(min(count, len(self.history))):
            self.take(self.history[0])
            if crash:
                self.start_anew()
                return
            del self.history[0]

    @precondition(lambda self: self.to_be_noted)
    @rule()
    def a_page_is_noted(self) -> None:
        """Perhaps long after it was applied: meanwhile the next ones have come, or the process has died and forgotten it."""
        if not run(self.registry.scanned(NUMBER, self.to_be_noted.pop(0))):
            self.pages.reset()

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def a_message_of_history_is_lost(self, data: st.DataObject) -> None:
        del self.history[data.draw(st.integers(0, len(self.history) - 1))]

    @precondition(lambda self: 0 < len(self.history) <= MOST_TWICE)
    @rule()
    def a_request_is_answered_twice(self) -> None:
        self.history += list(self.history)

    @rule()
    def nothing_has_moved_for_a_while(self) -> None:
        self.ask_again()

    @rule()
    def live_events_are_shuffled(self) -> None:
        self.random.shuffle(self.live)

    @precondition(lambda self: self.live)
    @rule()
    def a_live_event_comes_twice(self) -> None:
        self.live.append(self.random.choice(self.live))

    @precondition(lambda self: self.live and not self.at.done)
    @rule()
    def a_live_event_is_lost(self) -> None:
        self.live.pop(self.random.randrange(len(self.live)))

    @rule(stream=A_STREAM)
    def a_projection_starts_or_stops_failing(self, stream: str) -> None:
        self.store.failing ^= {stream}

    @rule(seconds=st.integers(1, 200))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.resend_overdue()

    @rule(stream=A_STREAM)
    def an_operator_discards(self, stream: str) -> None:
        if self.events[stream]:
            self.discard((stream, self.random.randint(1, self.events[stream])))

    # What must be true in the end.

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.store.failing = set()
        for _ in range(300):
            if self.at.done:
                break
            if not self.history and not self.requests:
                self.ask_again()
            self.the_command_service_answers(3)
            while self.history:
                self.history_is_delivered(10, crash=False)
            while self.to_be_noted:
                self.a_page_is_noted()
        assert self.at.done
        assert self.at.scanned >= 0
        self.live = []
        self.applier.role = Role.FOLLOWING
        heads = {stream: count for stream, count in self.events.items() if count}
        self.carry(run(self.applier.compare(heads, insist=True)).outgoing)
        for _ in range(50):
            batch, self.live = self.live, []
            self.carry(self.apply(batch))
            self.now += timedelta(seconds=60)
            self.resend_overdue()
            self.resend([*run(self.store.unreported(self.now, 100))])
            if not self.live and not self.store.holds:
                break
        assert not self.store.holds
        for stream, count in self.events.items():
            assert self.store.applied.get(stream, 0) == count
            expected = [f"{stream}@{v}" for v in range(1, count + 1) if (stream, v) not in self.discarded]
            assert self.store.data.get(stream, []) == expected

    # How it is done.

    @property
    def at(self) -> Generation:
        return next(each for each in run(self.registry.generations()) if each.number == NUMBER)

    def start_anew(self) -> None:
        self.pages, self.to_be_noted = HistoryPages(), []
        self.applier = Applier(
            "memory", self.store, tiers=topology.RETRY_TIERS, clock=lambda: self.now, role=Role.BUILDING
        )

    def stored(self) -> list[Cursor]:
        return [(stream, version) for stream in STREAMS for version in range(1, self.events[stream] + 1)]

    def apply(self, places: list[Cursor]) -> list[Outgoing]:
        return run(self.applier.apply([arrived(*place) for place in places])).outgoing if places else []

    def take(self, message: HistoryPage | Portion) -> None:
        if isinstance(message, Portion):
            if self.pages.accepts(message.asked, len(message.events)):
                self.carry(self.apply(list(message.events)))
        elif message.place == "begin":
            following = self.pages.begin(message, (self.at.cursor_stream, self.at.cursor_version))
            if following is not None:
                self.requests.append(following)
        elif (scanned := self.pages.end(message)) is not None:
            self.to_be_noted.append(scanned)

    def ask_again(self) -> None:
        self.pages.reset()
        self.requests.append((self.at.cursor_stream, self.at.cursor_version))

    def marker(self, place: Any, after: Cursor, page: list[Cursor], *, done: bool) -> HistoryPage:
        last = page[-1] if page else after
        return HistoryPage(
            id=f"{self.asked}/{place}",
            source="tests",
            time=self.now,
            asked=str(self.asked),
            generation=NUMBER,
            place=place,
            after_stream=after[0],
            after_version=after[1],
            last_stream=last[0],
            last_version=last[1],
            events=len(page),
            done=done,
        )

    def discard(self, place: Cursor) -> None:
        """As an order does that the active generation has obeyed; where this one has the event already, it keeps it."""
        if place[1] > self.store.applied.get(place[0], 0):
            stepped = run(self.applier_for_orders.step_over(*place, ahead=True))
            self.discarded.add(place)
            if stepped is not None:
                self.carry(stepped.outgoing)

    @property
    def applier_for_orders(self) -> Applier:
        return Applier("memory", self.store, tiers=topology.RETRY_TIERS, clock=lambda: self.now, role=Role.BUILDING)

    def carry(self, outgoing: list[Outgoing]) -> None:
        """Nobody reads the generation: of its failures nothing is said, and what it lacks it asks for."""
        for message in outgoing:
            assert message.exchange == topology.CONTROL
            streams = json.loads(message.body)["data"]["streams"]
            self.resend([(item["stream"], item["version"] - 1) for item in streams])

    def resend_overdue(self) -> None:
        self.resend([*run(self.store.overdue(self.now, 100))])

    def resend(self, wanted: list[Cursor]) -> None:
        for stream, applied in wanted:
            self.live += [(stream, version) for version in range(applied + 1, self.events[stream] + 1)]


def arrived(stream: str, version: int) -> ArrivedEvent:
    event = Event(f"{stream}@{version}", "test.happened", stream, version, NOON, Unreadable(), lane=0)
    return ArrivedEvent(event, {"subject": stream, "streamversion": version})


def test_a_stream_that_dies_where_nobody_reads_is_owed_a_letter() -> None:
    store = MemoryStore()
    store.failing = {"orders/a"}
    applier = Applier("memory", store, tiers=(), clock=lambda: NOON, role=Role.FOLLOWING)
    assert run(applier.apply([arrived("orders/a", 1)])).outgoing == []
    hold = store.holds["orders/a"]
    assert (hold.status, hold.due_at) == (HoldStatus.DEAD, UNREPORTED)
    assert run(store.unreported(NOON, 10)) == [("orders/a", 0)]
    applier.role = Role.ACTIVE
    [letter] = run(applier.apply([arrived("orders/a", 1)])).outgoing
    assert letter.exchange == topology.DEAD
    assert store.holds["orders/a"].due_at == NOON + LETTER_AFTER


def test_a_live_event_ahead_of_history_asks_for_nothing_until_history_has_come_to_its_stream() -> None:
    store = MemoryStore()
    applier = Applier("memory", store, tiers=(), clock=lambda: NOON, role=Role.BUILDING)
    assert run(applier.apply([arrived("orders/a", 4)])).outgoing == []
    assert run(store.overdue(NOON + timedelta(seconds=60), 10)) == []
    [request] = run(applier.apply([arrived("orders/a", 1), arrived("orders/a", 2)])).outgoing
    assert json.loads(request.body)["data"]["streams"] == [{"stream": "orders/a", "version": 3}]


RebuildHistories.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestRebuildHistories = RebuildHistories.TestCase
