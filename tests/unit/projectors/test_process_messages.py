"""The commands of processes as messages: in their order, bounded in number and bytes. Pure."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from projectors.process_runtime.outgoing import MAX_BYTES, envelope_of, messages
from shared.messages.envelope import MAX_BATCH
from tests import shop


def row(seq: int, size: int = 10) -> Any:
    fields = {"seq": seq, "process": f"p-{seq % 3}", "command_id": f"c-{seq}", "type": "orders.pay-order"}
    return fields | {"subject": "o-1", "data": "x" * size, "actor": "tests", "decided_at": shop.NOON}


@given(st.lists(st.integers(0, MAX_BYTES), max_size=400))
def test_every_command_is_in_one_message_in_order_and_messages_are_bounded(sizes: list[int]) -> None:
    rows = [row(seq, size % 3000 if seq % 7 else size) for seq, size in enumerate(sizes)]
    packed = list(messages(rows))
    assert [each["seq"] for message in packed for each in message] == [each["seq"] for each in rows]
    assert all(0 < len(message) <= MAX_BATCH for message in packed)
    assert all(len(message) == 1 or sum(len(each["data"]) for each in message) <= MAX_BYTES for message in packed)


def test_a_command_is_the_same_each_time_that_it_is_sent() -> None:
    one = row(1) | {"data": '{"amount": 400}'}
    envelope = envelope_of("parcel-test", one)
    assert envelope == envelope_of("parcel-test", one)
    assert (envelope["source"], envelope["id"], envelope["data"], envelope["time"]) == (
        "tidemark/processes/parcel-test",
        "c-1",
        {"amount": 400},
        shop.NOON,
    )
