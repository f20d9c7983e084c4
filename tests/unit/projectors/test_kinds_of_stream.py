"""A projection reads the kinds of stream that it names; an added kind is missing until a rebuild, and is reported as missing."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectors.generations.epoch_watch import EpochWatch
from projectors.generations.hosting import Generations, HostedGeneration, role_of
from projectors.generations.registry import AppliedPage
from projectors.generations.requests import MODELS, GenerationRequests
from projectors.models.analytics.projection import Effects, effects
from projectors.rebuild.pacing import LivePriority
from projectors.runtime.applying import Applier
from projectors.runtime.consumer import Projector
from projectors.runtime.control_handler import ControlHandler
from projectors.runtime.decoding import UNKNOWN, ArrivedEvent, Unreadable, decode
from projectors.runtime.failure_messages import history_request
from projectors.runtime.measuring import LagMeter
from projectors.runtime.options import Options
from projectors.stores.port import Commit, Event, Hold, HoldStatus, LaneProgress, StoreUnavailableError
from shared.contracts.registry import KINDS
from shared.messages.control import (
    INQUIRE,
    STEP_OVER,
    Inquire,
    Passed,
    ReadHistory,
    Request,
    StepOver,
    StreamFrom,
    VersionsCompared,
)
from shared.messages.envelope import pack
from shared.messaging import topology
from shared.messaging.consuming import Delivery
from shared.read_models import READ_MODELS, is_of
from shared.runtime.outage import OutageRetry
from shared.views.generations import KINDS_BEFORE, Generation, has, incomplete, kinds_from_now_on
from tests import shop
from tests.memory_registry import MemoryRegistry
from tests.memory_store import MemoryStore
from tests.shop import NOON
from tests.unit.projectors.test_decoding import delivery, envelope

NAME = "summary"
KINDS_READ = frozenset({"orders", "products"})
READ = (
    envelope(shop.placed()),
    envelope(shop.paid(), streamversion=2),
    envelope(shop.created(), subject="products/p-1"),
)
NOT_READ = (
    envelope(shop.registered(), subject="customers/c-1"),
    envelope({"a": [{"subject": "orders/x"}]}, subject="customers/c-1", type="customers.customer-renamed"),
    envelope({}, subject="customers/c-2", type="customers.nobody-knows"),
    envelope({}, subject="clinics/k-1", type="clinics.clinic-opened", schemaversion=99),
    envelope(shop.registered(), subject="customers/c-3", causationid=...),
    envelope(shop.registered(), subject="customers/c-4", streamversion="many"),
    envelope(shop.paid(), subject="customers/c-5"),
)
HOLD = Hold(HoldStatus.DEAD, 1, 1, 4, "projection-failed", "", "", NOON, NOON, None)


def test_every_kind_that_a_read_model_names_exists() -> None:
    assert {kind for model in READ_MODELS for kind in model.kinds} <= set(KINDS)


@given(st.lists(st.sampled_from([*READ, *NOT_READ]), min_size=1, max_size=8), st.booleans())
def test_of_a_message_only_the_events_of_the_kinds_that_are_read_arrive_each_with_its_bytes(
    events: Sequence[dict[str, Any]], one_by_one: bool
) -> None:
    bodies = [json.dumps(event).encode() for event in events]
    messages = bodies if one_by_one else [pack(bodies)]
    found = decode([delivery(body) for body in messages], {"summary.1": 1}, kinds=KINDS_READ)
    alone = [body for body, event in zip(bodies, events, strict=True) if event in READ]
    expected = decode([delivery(body) for body in alone], {"summary.1": 1})
    assert [item.event for item in found.arrived] == [item.event for item in expected.arrived]
    assert [item.body() for item in found.arrived] == alone
    assert not any(item.failure for item in found.arrived)
    assert not found.undecodable


def test_beside_others_an_event_of_an_unknown_type_is_held_where_its_kind_is_read() -> None:
    unknown = envelope({}, type="orders.order-gift-wrapped", streamversion=3)
    batch = pack([json.dumps(each).encode() for each in (*NOT_READ, READ[0], unknown)])
    known, held = decode([delivery(batch)], {"summary.1": 1}, kinds=KINDS_READ).arrived
    assert (known.event.data, known.failure) == (shop.placed(), None)
    assert held.failure is not None
    assert (held.failure.reason, held.event.version) == (UNKNOWN, 3)


def test_a_message_that_names_no_stream_is_a_dead_letter_whatever_is_read() -> None:
    found = decode([delivery(b'{"subject": 7}'), delivery(b'{"type": "x"}')], {"summary.1": 1}, kinds=KINDS_READ)
    assert len(found.undecodable) == 2


class Harness:
    """A projector that reads some kinds of stream, with stores in memory."""

    def __init__(self, *kinds: str, registry: MemoryRegistry | None = None) -> None:
        self.registry = registry or MemoryRegistry(clock=lambda: NOON)
        self.stores: dict[int, MemoryStore] = {}
        self.published: list[Any] = []
        unused: Any = None
        outages = OutageRetry(
            "memory", lambda error: isinstance(error, StoreUnavailableError), stopping=unused, longest_pause_s=0.01
        )
        self.generations = Generations(self.registry, self._hosted, outages, kinds)
        self.projector = Projector(
            NAME, self.generations, unused, unused, outages, Options(), lag=LagMeter(), live_priority=LivePriority()
        )
        self.control = ControlHandler(NAME, self.generations, unused)
        self.epoch_watch = EpochWatch(NAME, self.generations, unused, outages)

    async def apply(self, *places: tuple[str, int]) -> None:
        await self.generations.apply([arrived(*place) for place in places], limit=100, one_by_one=False)

    async def redeployed(self, *kinds: str) -> "Harness":
        """The same stores, with code that reads these kinds."""
        harness = Harness(*kinds, registry=self.registry)
        harness.stores = self.stores
        await harness.generations.open()
        return harness

    async def rebuilt(self) -> None:
        """A second generation, ready and active."""
        await self.registry.begin(2, kinds=self.generations.kinds, rate=None, by="a test")
        await self.registry.scanned(2, AppliedPage(("", 0), ("", 0), 0, 0, NOON, done=True))
        await self.registry.ready(2)
        await self.registry.activate(2, by="a test")
        await self.generations.refresh()

    async def kinds(self, number: int = 1) -> Sequence[str] | None:
        return next(each.kinds for each in await self.registry.generations() if each.number == number)

    def _hosted(self, generation: Generation) -> HostedGeneration:
        store: Any = self.stores.setdefault(generation.number, MemoryStore())
        applier = Applier(NAME, store, tiers=(), clock=lambda: NOON, role=role_of(generation))
        return HostedGeneration(generation, store, applier)


def arrived(stream: str, version: int) -> ArrivedEvent:
    event = Event(f"{stream}@{version}", "test.happened", stream, version, NOON, Unreadable(), lane=0)
    return ArrivedEvent(event, {"subject": stream, "streamversion": version})


def store_in_use(*streams: str) -> MemoryStore:
    store = MemoryStore()
    store.applied = dict.fromkeys(streams, 1)
    store.lanes = {0: (NOON, len(streams))}
    return store


async def test_a_new_store_has_every_kind_that_is_read() -> None:
    harness = Harness("orders", "bookings")
    await harness.generations.open()
    assert await harness.kinds() == ("orders", "bookings")
    assert harness.projector.incomplete is None


async def test_a_store_from_before_kinds_were_recorded_has_the_kinds_of_that_time() -> None:
    harness = Harness("orders", "bookings")
    harness.stores[1] = store_in_use("orders/a", "customers/c")
    await harness.generations.open()
    assert await harness.kinds() == ("orders",)
    assert harness.projector.incomplete == (
        "does not have bookings yet: run tidemark projections rebuild summary, then tidemark projections activate summary"
    )


async def test_a_kind_that_is_added_is_not_applied_before_a_rebuilt_generation_which_has_it() -> None:
    before = Harness("orders")
    await before.generations.open()
    await before.apply(("orders/a", 1))
    await before.generations.active.store.commit(Commit(progress={0: LaneProgress(NOON, 1)}))
    harness = await before.redeployed("orders", "customers")
    assert harness.projector.incomplete is not None
    assert "does not have customers yet" in harness.projector.incomplete
    await harness.apply(("orders/a", 2), ("customers/c", 5))
    assert harness.stores[1].applied == {"orders/a": 2}
    assert not harness.stores[1].holds
    await harness.rebuilt()
    assert harness.projector.incomplete is None
    await harness.apply(("customers/d", 1))
    assert [harness.stores[number].applied.get("customers/d") for number in (1, 2)] == [None, 1]


async def test_a_kind_that_was_not_read_for_a_while_is_missing_when_it_is_read_again() -> None:
    harness = Harness("orders", "customers")
    harness.stores[1] = store_in_use("orders/a", "customers/c")
    await harness.generations.open()
    assert harness.projector.incomplete is None
    harness = await harness.redeployed("orders")
    assert await harness.kinds() == ("orders",)
    harness = await harness.redeployed("orders", "customers")
    assert harness.projector.incomplete is not None
    await harness.apply(("customers/c", 2))
    assert harness.stores[1].applied["customers/c"] == 1


async def test_holds_of_streams_of_other_kinds_are_released() -> None:
    harness = Harness("orders")
    harness.stores[1] = store_in_use("orders/a")
    harness.stores[1].holds = {"customers/c": HOLD, "orders/b": HOLD}
    await harness.generations.open()
    assert set(harness.stores[1].holds) == {"orders/b"}


async def test_a_rebuild_has_the_kinds_that_are_read() -> None:
    harness = Harness("orders", "products")
    await harness.generations.open()
    body = Request[Any](
        id="r",
        source="tests",
        type="control.rebuild",
        time=NOON,
        data={"projection": NAME, "generation": 2, "actor": "a test", "reason": ""},
    )
    await GenerationRequests(NAME, harness.generations).handle(
        control("rebuild", body.model_dump_json().encode()), MODELS["rebuild"]
    )
    assert await harness.kinds(2) == ("orders", "products")


async def test_a_comparison_of_versions_is_about_the_kinds_that_a_generation_has() -> None:
    harness = Harness("orders")
    harness.stores[1] = store_in_use("orders/a", "customers/c")
    await harness.generations.open()
    await harness.registry.record_epoch(1, "e-1")
    await harness.registry.record_epoch(1, "e-2")
    await harness.generations.refresh()
    (request,) = await harness.epoch_watch._request_comparison(harness.generations.active)
    assert json.loads(request.body)["data"]["streams"] == [["orders/a", 1]]
    answer = VersionsCompared(projection=NAME, generation=1, epoch="e-2", cursor="", following="", last=True, ahead=())
    assert await harness.epoch_watch.compared(answer) == []
    assert harness.generations.active.generation.epoch == "e-2"


def control(verb: str, body: bytes) -> Delivery:
    nowhere: Any = None
    return Delivery(topology.control_queue(NAME), body, {}, "", f"{NAME}.{verb}", "", None, False, 1, nowhere)


@pytest.mark.parametrize("verb", ["inquire", "discard"])
async def test_a_request_about_an_event_that_is_not_read_is_answered_not_read(verb: str) -> None:
    harness = Harness("orders")
    harness.stores[1] = store_in_use("orders/a")
    await harness.generations.open()
    place = StreamFrom(stream="customers/c", version=3)
    if verb == "inquire":
        asked: Any = Request[Inquire](
            id="i",
            source="tests",
            type=INQUIRE,
            time=NOON,
            data=Inquire(projection=NAME, events=(place, StreamFrom(stream="orders/a", version=1))),
        )
        key = topology.inquire_key(NAME)
    else:
        asked = Request[StepOver](
            id="s",
            source="tests",
            type=STEP_OVER,
            time=NOON,
            data=StepOver(projection=NAME, stream=place.stream, version=3, actor="a test", reason=""),
        )
        key = topology.discard_key(NAME)
    nowhere: Any = None
    body = asked.model_dump_json().encode()
    order = Delivery(topology.control_queue(NAME), body, {}, "", key, "", None, False, 1, nowhere)
    notices = [Request[Passed].model_validate_json(one.body).data for one in await harness.control.handle([order])]
    told = [(event.stream, event.how) for notice in notices for event in notice.events]
    assert told[-1] == ("customers/c", "not-read")
    assert told[:-1] == ([("orders/a", "applied")] if verb == "inquire" else [])
    assert not harness.stores[1].discarded


def test_a_request_for_history_names_kinds_only_where_they_are_not_all() -> None:
    whole = history_request(NAME, 2, ("", 0), 100, count=True, kinds=KINDS)
    assert "kinds" not in json.loads(whole.body)["data"]
    some = history_request(NAME, 2, ("", 0), 100, count=True, kinds=("orders", "products"))
    assert json.loads(some.body)["data"]["kinds"] == ["orders", "products"]
    assert Request[ReadHistory].model_validate_json(whole.body).data.kinds is None


def test_what_a_generation_has_and_lacks() -> None:
    assert has(None) == KINDS_BEFORE
    assert incomplete(NAME, KINDS_BEFORE, None) is None
    lacks = incomplete(NAME, ("orders", "bookings", "doctors"), ("orders", "users"))
    assert lacks is not None
    assert lacks.kinds == ("bookings", "doctors")
    assert kinds_from_now_on(("orders", "users"), ("orders", "bookings")) == ("orders",)
    assert is_of(("orders",), "orders/a/b")
    assert not is_of(("orders",), "orders-of-old/a")


def test_analytics_needs_no_event_of_a_customer() -> None:
    facts = (shop.registered(), shop.renamed(), shop.new_email())
    assert effects(Event("e", "t", "customers/c-1", 1, NOON, fact, 0) for fact in facts) == Effects()
