"""Control requests: inquiries are handled together, and an unreadable one does not affect the others."""

from datetime import UTC, datetime
from typing import Any

import pytest

from projectors.runtime.control_handler import ControlHandler
from projectors.stores.port import Commit
from shared.contracts.registry import KINDS
from shared.messages.control import INQUIRE, Inquire, Passed, Request, StreamFrom
from shared.messaging import topology
from shared.messaging.consuming import Delivery
from tests import shop
from tests.memory_store import MemoryStore

NAME = "summary"


class OneGeneration:
    """The hosted generations, of which there is one."""

    def __init__(self, store: MemoryStore) -> None:
        self.active, self.store, self.refreshed = self, store, 0
        self.kinds = KINDS

    async def refresh(self) -> None:
        self.refreshed += 1


def delivery(key: str, body: bytes) -> Delivery:
    nowhere: Any = None
    return Delivery(topology.control_queue(NAME), body, {}, "", key, "", None, False, 1, nowhere)


def inquiry(*events: tuple[str, int]) -> Delivery:
    asked = Inquire(
        projection=NAME, events=tuple(StreamFrom(stream=stream, version=version) for stream, version in events)
    )
    request = Request[Inquire](id="i", source="tests", type=INQUIRE, time=datetime.now(UTC), data=asked)
    return delivery(topology.inquire_key(NAME), request.model_dump_json().encode())


def test_inquiries_are_grouped_and_every_other_request_is_alone() -> None:
    unchecked: Any = None
    handler = ControlHandler(NAME, unchecked, unchecked)
    first, second = inquiry(("orders/o-1", 1)), inquiry(("orders/o-2", 1))
    discard, rebuild = delivery(topology.discard_key(NAME), b"1"), delivery("rebuild", b"2")
    assert list(handler.grouped([first, discard, second, rebuild])) == [[discard], [rebuild], [first, second]]
    assert list(handler.grouped([])) == []


async def test_inquiries_are_answered_together_and_an_unreadable_one_does_not_affect_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    await store.commit(Commit([shop.run(f"orders/o-{n}", shop.placed(f"o-{n}")) for n in range(5)]))
    monkeypatch.setattr("projectors.runtime.control_handler.MAX_STREAMS", 2)
    generations: Any = OneGeneration(store)
    unchecked: Any = None
    handler = ControlHandler(NAME, generations, unchecked)
    asked = [
        inquiry(("orders/o-0", 1), ("orders/o-1", 1)),
        delivery(topology.inquire_key(NAME), b"{"),
        inquiry(("orders/o-2", 1), ("orders/o-3", 2)),
    ]
    answer = await handler.handle(asked)
    notices = [Request[Passed].model_validate_json(message.body).data for message in answer]
    assert [[(event.stream, event.version) for event in notice.events] for notice in notices] == [
        [("orders/o-0", 1), ("orders/o-1", 1)],
        [("orders/o-2", 1)],
    ]
    assert generations.refreshed == 1
