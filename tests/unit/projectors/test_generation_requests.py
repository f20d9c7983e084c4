"""Operators' requests about generations: each is done or refused, gets a reply, and if it is done a message for the audit log."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from projectors.generations.hosting import Generations, HostedGeneration
from projectors.generations.registry import AppliedPage
from projectors.generations.requests import MODELS, GenerationRequests
from shared.contracts.registry import KINDS
from shared.messages.control import Acted, Request
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.views.generations import Generation
from tests.memory_registry import MemoryRegistry
from tests.memory_store import MemoryStore
from tests.shop import NOON

NAME = "summary"


class Harness:
    def __init__(self) -> None:
        self.registry = MemoryRegistry(clock=lambda: NOON)
        self.generations = Generations(self.registry, _hosted, _unused(), KINDS)
        self._requests = GenerationRequests(NAME, self.generations)

    async def request(self, verb: str, *, again: bool = False, **data: Any) -> tuple[str, list[Acted]]:
        """The reply's code, and the messages for the audit log."""
        outgoing = await self._handle(verb, _body(verb, data), again=again)
        acted = [Request[Acted].model_validate_json(one.body).data for one in outgoing if _is_acted(one)]
        (answer,) = [json.loads(one.body)["data"] for one in outgoing if one.routing_key == "reply.the-client"]
        assert answer["request_id"] == f"{verb} it"
        return answer.get("code", "done"), acted

    async def build(self) -> None:
        """The second generation, ready."""
        await self.request("rebuild", generation=2)
        await self.registry.scanned(2, AppliedPage(("", 0), ("", 0), 0, 0, NOON, done=True))
        await self.registry.ready(2)

    async def known(self) -> dict[int, bool]:
        return {each.number: each.active for each in await self.registry.generations()}

    async def _handle(self, verb: str, body: bytes, *, again: bool) -> list[Outgoing]:
        return await self._requests.handle(_delivery(verb, body, again=again), MODELS[verb])


@pytest.fixture
async def harness() -> Harness:
    made = Harness()
    await made.generations.open()
    return made


async def test_what_is_done_is_published_with_actor_and_reason(harness: Harness) -> None:
    answer, (acted,) = await harness.request("rebuild", generation=2)
    assert answer == "done"
    assert acted == Acted(
        projection=NAME,
        act="rebuild",
        generation=2,
        actor="ann",
        reason="because",
        request_id="rebuild it",
        asked_at=NOON,
    )


async def test_a_rollback_is_published_with_the_generation_that_is_active_again(harness: Harness) -> None:
    await harness.build()
    assert [(one.act, one.generation) for one in (await harness.request("activate", generation=2))[1]] == [
        ("activate", 2)
    ]
    assert await harness.known() == {1: False, 2: True}
    assert [(one.act, one.generation) for one in (await harness.request("rollback"))[1]] == [("rollback", 1)]
    assert [(one.act, one.generation) for one in (await harness.request("drop", generation=2))[1]] == [("drop", 2)]
    assert await harness.known() == {1: True}


async def test_a_refused_request_gets_a_reply_and_publishes_nothing(harness: Harness) -> None:
    assert await harness.request("activate", generation=7) == ("generation-not-found", [])
    assert await harness.request("rollback") == ("no-generation-before", [])
    assert await harness.request("drop", generation=1) == ("generation-is-active", [])
    assert await harness.request("adopt-epoch", generation=1) == ("nothing-to-adopt", [])
    await harness.request("rebuild", generation=2)
    assert await harness.request("activate", generation=2) == ("generation-not-ready", [])
    assert await harness.request("rebuild", generation=3) == ("rebuild-under-way", [])


async def test_a_redelivered_request_has_the_same_reply_and_message(harness: Harness) -> None:
    await harness.build()
    orders: list[tuple[str, dict[str, Any]]] = [
        ("activate", {"generation": 2}),
        ("rollback", {}),
        ("drop", {"generation": 2}),
    ]
    for verb, data in orders:
        first = await harness.request(verb, **data)
        assert first[0] == "done"
        assert await harness.request(verb, again=True, **data) == first


async def test_an_operator_decides_that_a_generation_goes_on_in_another_epoch(harness: Harness) -> None:
    await harness.build()
    for number in (1, 2):
        for epoch in ("e-1", "e-2"):
            await harness.registry.record_epoch(number, epoch)
        await harness.registry.compared(number, "e-2", "", "", last=True, ahead=["orders/o-1 at 3, not 2"])
    assert await harness.request("activate", generation=2) == ("generation-not-ready", [])
    answer, (acted,) = await harness.request("adopt-epoch", generation=1)
    assert (answer, acted.act, acted.generation) == ("done", "adopt-epoch", 1)
    first, second = await harness.registry.generations()
    assert (first.epoch, first.former, first.moving_to) == ("e-2", ("e-1",), None)
    assert (second.epoch, second.moving_to) == ("e-1", "e-2")
    assert (await harness.request("adopt-epoch", again=True, generation=1)) == ("done", [acted])


def _hosted(generation: Generation) -> HostedGeneration:
    applier: Any = SimpleNamespace(role=None)
    return HostedGeneration(generation, MemoryStore(), applier)


def _unused() -> Any:
    return None


def _is_acted(one: Outgoing) -> bool:
    return (one.exchange, one.routing_key) == (topology.CHANGES, topology.acted_key(NAME))


def _body(verb: str, data: dict[str, Any]) -> bytes:
    data = {"projection": NAME, "actor": "ann", "reason": "because"} | data
    envelope = {"id": f"{verb} it", "source": "tests", "type": f"control.{verb}", "time": NOON.isoformat()}
    return json.dumps(envelope | {"data": data}).encode()


def _delivery(verb: str, body: bytes, *, again: bool) -> Delivery:
    key, queue = topology.rebuild_key(NAME, verb), topology.control_queue(NAME)
    return Delivery(queue, body, {}, CONTENT_TYPE, key, "reply.the-client", None, again, 1, _unused())
