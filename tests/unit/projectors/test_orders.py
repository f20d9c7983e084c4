"""What a projector is asked: hundreds of inquiries are one question, and an unreadable one costs only itself."""

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


class Alone:
    """One generation, served."""

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


def test_each_order_goes_by_itself_and_inquiries_together() -> None:
    unchecked: Any = None
    orders = ControlHandler(NAME, unchecked, unchecked)
    first, second = inquiry(("orders/o-1", 1)), inquiry(("orders/o-2", 1))
    discard, rebuild = delivery(topology.discard_key(NAME), b"1"), delivery("rebuild", b"2")
    assert list(orders.grouped([first, discard, second, rebuild])) == [[discard], [rebuild], [first, second]]
    assert list(orders.grouped([])) == []


async def test_inquiries_are_answered_with_one_look_and_an_unreadable_one_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    await store.commit(Commit([shop.run(f"orders/o-{n}", shop.placed(f"o-{n}")) for n in range(5)]))
    monkeypatch.setattr("projectors.runtime.control_handler.MAX_STREAMS", 2)
    generations: Any = Alone(store)
    unchecked: Any = None
    orders = ControlHandler(NAME, generations, unchecked)
    asked = [
        inquiry(("orders/o-0", 1), ("orders/o-1", 1)),
        delivery(topology.inquire_key(NAME), b"{"),
        inquiry(("orders/o-2", 1), ("orders/o-3", 2)),
    ]
    answer = await orders.handle(asked)
    notices = [Request[Passed].model_validate_json(message.body).data for message in answer]
    assert [[(event.stream, event.version) for event in notice.events] for notice in notices] == [
        [("orders/o-0", 1), ("orders/o-1", 1)],
        [("orders/o-2", 1)],
    ]
    assert generations.refreshed == 1
