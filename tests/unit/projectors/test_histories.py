"""Whatever happens on the way, the read model ends as the pure fold of the event store, and every event is accounted for.

A broker that duplicates, reorders and loses; a process that dies between any two calls of its store and any two messages it publishes,
and whose messages may be gone before it is back;
two workers at once, one of which has lost its queue and does not know it; a projection that fails for a while, and events that kill; a
store that goes away; an operator who replays and discards. In the end everything heals, by the means that the system has, and we compare.
"""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from projectors.runtime.decoding import UNKNOWN
from projectors.stores.port import HoldStatus
from shared.contracts.registry import KINDS
from shared.messaging import topology
from shared.read_models import is_of
from tests.unit.projectors.event_store import STREAMS
from tests.unit.projectors.simulation import LANES, NEVER, Simulation, lane_of, lane_queue

MOST_MINUTES = 200
QUIET_MINUTES = 5
MOST_DEATHS = 12
"""Of one stream's first deadly event, before it is held for good."""
A_LIFE = st.one_of(st.just(NEVER), st.integers(0, 25))
"""How many steps a process lives for."""
A_STREAM = st.sampled_from(STREAMS)
A_LANE = st.integers(0, LANES - 1)
A_WORKER = st.integers(0, 1)


class Histories(RuleBasedStateMachine):
    kinds = KINDS
    """Of the streams that the projection reads."""

    def reads(self, stream: str) -> bool:
        return is_of(self.kinds, stream)

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.simulation = Simulation(Random(seed), self.kinds)
        self.given_up: set[tuple[str, int]] = set()

    # What happens in the simulation.

    @rule(stream=A_STREAM, count=st.integers(1, 4))
    def events_are_published(self, stream: str, count: int) -> None:
        self.simulation.publish(stream, count)

    @rule(stream=A_STREAM)
    def an_event_that_nobody_knows_is_published(self, stream: str) -> None:
        self.simulation.publish(stream, 1, unknown=True)

    @rule(worker=A_WORKER, lane=A_LANE, count=st.integers(1, 6), life=A_LIFE)
    def some_are_delivered(self, worker: int, lane: int, count: int, life: int) -> None:
        orders = self.simulation.queues[topology.control_queue("summary")]
        self.simulation.deliver(
            worker, [*self.simulation.queues[lane_queue(lane)][:count], *orders[:1]], lives_for=life
        )

    @rule(worker=A_WORKER, lane=A_LANE, life=st.integers(0, 8))
    def a_queue_is_purged_while_its_worker_is_dead(self, worker: int, lane: int, life: int) -> None:
        self.simulation.deliver(worker, self.simulation.queues[lane_queue(lane)], lives_for=life, purged=True)

    @rule(lane=A_LANE, before=st.integers(1, 6), after=st.integers(1, 6), lives=st.tuples(A_LIFE, A_LIFE))
    def a_worker_that_has_lost_its_queue_goes_on_beside_its_successor(
        self, lane: int, before: int, after: int, lives: tuple[int, int]
    ) -> None:
        queue = self.simulation.queues[lane_queue(lane)]
        batches = {0: (queue[:before], lives[0]), 1: (queue[:after], lives[1])}
        self.simulation.deliver_both(batches, lost=0)

    @rule(counts=st.tuples(st.integers(1, 6), st.integers(1, 6)), lives=st.tuples(A_LIFE, A_LIFE))
    def two_workers_have_a_lane_each(self, counts: tuple[int, int], lives: tuple[int, int]) -> None:
        self.simulation.deliver_both(
            {lane: (self.simulation.queues[lane_queue(lane)][: counts[lane]], lives[lane]) for lane in range(LANES)}
        )

    @rule(lane=A_LANE)
    def a_queue_is_shuffled(self, lane: int) -> None:
        self.simulation.random.shuffle(self.simulation.queues[lane_queue(lane)])

    @precondition(lambda self: any(self.simulation.queues.values()))
    @rule(data=st.data(), copies=st.integers(1, 3))
    def a_message_is_duplicated(self, data: st.DataObject, copies: int) -> None:
        queue = data.draw(st.sampled_from([queue for queue in self.simulation.queues.values() if queue]))
        message = data.draw(st.sampled_from(range(len(queue))))
        queue += [queue[message].copied() for _ in range(copies)]

    @rule(lane=A_LANE, data=st.data())
    def messages_are_lost(self, lane: int, data: st.DataObject) -> None:
        queue = self.simulation.queues[lane_queue(lane)]
        if queue:
            first, count = data.draw(st.integers(0, len(queue) - 1)), data.draw(st.integers(1, 3))
            self.simulation.lose(queue[first : first + count])

    @rule(worker=A_WORKER, minutes=st.integers(1, 3))
    def all_is_quiet_for_some_minutes(self, worker: int, minutes: int) -> None:
        """So a worker comes to trust its lanes, and notices what is lost after that by the numbers of messages alone."""
        for _ in range(minutes):
            self.minute(worker)

    @rule()
    def heartbeats_come(self) -> None:
        self.simulation.beat()

    @rule()
    def another_relay_leads(self) -> None:
        self.simulation.change_relay()

    @rule(count=st.integers(1, 5), kept=st.booleans())
    def requests_are_answered(self, count: int, kept: bool) -> None:
        """``kept``: the command service dies before it can acknowledge them, and answers them again."""
        for request in self.simulation.requests[:count]:
            self.simulation.answer(request)
        if not kept:
            del self.simulation.requests[:count]

    @precondition(lambda self: self.simulation.requests)
    @rule()
    def a_request_is_lost(self) -> None:
        self.simulation.requests.pop()

    @rule(stream=A_STREAM)
    def a_projection_starts_or_stops_failing(self, stream: str) -> None:
        self.simulation.store.failing ^= {stream}

    @rule(stream=A_STREAM)
    def events_of_a_stream_become_deadly_or_harmless(self, stream: str) -> None:
        self.simulation.deadly ^= {stream}

    @rule(calls=st.integers(1, 5))
    def the_store_goes_away_for_a_while(self, calls: int) -> None:
        self.simulation.unavailable_calls = calls

    @rule(worker=A_WORKER, minutes=st.integers(0, 2))
    def the_store_is_emptied(self, worker: int, minutes: int) -> None:
        """After two minutes under a worker that trusts its lanes: it has to notice by itself. After fewer, at any moment: perhaps while
        it compares what an earlier loss has left, or when it has just done so."""
        for _ in range(minutes):
            self.minute(worker)
        self.simulation.empty_the_store()

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.simulation.pass_time(seconds)

    @rule(stream=A_STREAM)
    def an_operator_replays(self, stream: str) -> None:
        self.simulation.replay(stream)

    @rule(stream=A_STREAM)
    def an_operator_discards(self, stream: str) -> None:
        hold = self.simulation.store.holds.get(stream)
        if hold is not None and (hold.status is HoldStatus.DEAD or hold.reason == UNKNOWN):
            self.given_up.add((stream, hold.version))
            self.simulation.discard(stream, hold.version)

    # What is true at any time.

    @invariant()
    def the_store_never_claims_to_be_fresher_than_it_is(self) -> None:
        """Before ``as_of`` there is no event that it has not applied, or does not know to be held."""
        if not hasattr(self, "simulation"):
            return
        store = self.simulation.store
        for stream, history in self.simulation.events.streams.items():
            if not self.reads(stream):
                continue
            as_of = store.lanes.get(lane_of(stream), (None, 0))[0]
            known = max(store.applied.get(stream, 0), store.holds[stream].seen if stream in store.holds else 0)
            assert as_of is None or not any(event.at < as_of for event in history[known:])

    @invariant()
    def only_what_an_operator_gave_up_is_left_out(self) -> None:
        if hasattr(self, "simulation"):
            assert self.simulation.store.skipped <= self.given_up

    # What must be true in the end.

    def teardown(self) -> None:
        if not hasattr(self, "simulation"):
            return
        simulation, store = self.simulation, self.simulation.store
        simulation.unavailable_calls = 0
        assert self.deaths_until_nobody_dies() <= MOST_DEATHS * len(simulation.deadly)
        simulation.deadly = set()
        for _ in range(2 + len(topology.RETRY_TIERS)):
            self.minute(0)
        dead = {(stream, hold.version) for stream, hold in store.holds.items() if hold.status is HoldStatus.DEAD}
        assert dead <= simulation.letters
        store.failing = set()
        for _ in range(MOST_MINUTES):
            for stream, hold in sorted(store.holds.items()):
                if hold.status is HoldStatus.DEAD or hold.reason == UNKNOWN:
                    self.an_operator_acts(stream, hold.reason, hold.fingerprint)
            self.minute(0)
            if self.nothing_is_left():
                break
        assert not store.holds
        read = {stream: history for stream, history in simulation.events.streams.items() if self.reads(stream)}
        assert store.applied == {stream: len(history) for stream, history in read.items() if history}
        expected = [each for each in simulation.events.expected(without=store.skipped) if self.reads(each.stream)]
        assert store.difference(expected) == {}
        assert all(self.reads(stream) for stream, _ in simulation.letters | simulation.resent)
        assert {lane: store.lanes[lane][0] for lane in range(LANES)} == simulation.beats
        if simulation.letters:
            simulation.passed.clear()
            simulation.inquire(simulation.letters)
            simulation.deliver(0, simulation.queues[topology.control_queue("summary")])
            assert simulation.passed == simulation.letters
        simulation.close()

    def deaths_until_nobody_dies(self) -> int:
        """No operator does anything, and deadly events are deadly: they are held after a few deaths."""
        deaths = quiet = 0
        while quiet < QUIET_MINUTES and deaths <= MOST_DEATHS * len(STREAMS):
            died = self.minute(0)
            deaths, quiet = deaths + died, 0 if died else quiet + 1
        return deaths

    def minute(self, worker: int) -> bool:
        """One in which everybody does what he has to do; whether the worker died of it."""
        simulation = self.simulation
        simulation.pass_time(60)
        simulation.beat()
        requests, simulation.requests = simulation.requests, []
        for request in requests:
            simulation.answer(request)
        return simulation.deliver(worker, [message for queue in simulation.queues.values() for message in queue])

    def nothing_is_left(self) -> bool:
        simulation = self.simulation
        trusted = {lane: simulation.store.lanes.get(lane, (None, 0))[0] for lane in range(LANES)} == simulation.beats
        return trusted and not (
            simulation.store.holds or simulation.requests or simulation.delayed or any(simulation.queues.values())
        )

    def an_operator_acts(self, stream: str, reason: str, fingerprint: str) -> None:
        """What cannot be cured is discarded: an unknown event, and what builds on one that was discarded."""
        if reason == UNKNOWN or "MissingRowError" in fingerprint:
            self.an_operator_discards(stream)
        else:
            self.an_operator_replays(stream)


Histories.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestHistories = Histories.TestCase


class HistoriesOfSomeKinds(Histories):
    """Of the other kinds nothing is kept, held or asked for, whatever becomes of their events; and nothing is missed because of them."""

    kinds = ("orders", "products")


HistoriesOfSomeKinds.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestHistoriesOfSomeKinds = HistoriesOfSomeKinds.TestCase
