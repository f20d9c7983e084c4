"""Packing: order within a lane, bounds of a message, and nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from command_service.publishing.packing import Row, row_batches
from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, split
from shared.messaging import topology

rows = st.lists(st.tuples(st.integers(0, 20), st.sampled_from([10, 1000, 100_000, 300_000])), max_size=250).map(
    lambda drawn: [
        Row(number, f"orders/{stream}", "t.t", f'{{"n":{number},"x":"{"y" * size}"}}')
        for number, (stream, size) in enumerate(drawn)
    ]
)


@given(rows, st.integers(1, 8))
def test_every_row_travels_once_and_a_lane_keeps_its_order(drawn: list[Row], lanes: int) -> None:
    packed = row_batches(drawn, lanes)
    for lane in range(lanes):
        expected = [row for row in drawn if topology.lane_of(row.stream, lanes) == lane]
        assert [row for batch in packed if batch.lane == lane for row in batch.rows] == expected
    assert sum(len(batch.rows) for batch in packed) == len(drawn)


@given(rows)
def test_a_message_stays_within_its_bounds_unless_one_event_alone_is_larger(drawn: list[Row]) -> None:
    for batch in row_batches(drawn, 2):
        message = batch.message("lane.0")
        assert len(batch.rows) <= topology.MAX_EVENTS_PER_MESSAGE
        assert len(message.body) <= topology.MAX_BYTES_PER_MESSAGE or len(batch.rows) == 1
        assert len(split(message.body)) == len(batch.rows)
        assert message.content_type == (CONTENT_TYPE if len(batch.rows) == 1 else BATCH_CONTENT_TYPE)


def test_an_event_that_goes_out_alone_bears_its_type_also_where_only_the_envelope_says_it() -> None:
    [batch] = row_batches([Row(1, "orders/o-1", None, '{"type":"orders.order-placed"}')], 4)
    assert batch.message("lane.0").type == "orders.order-placed"


mixed = st.lists(st.tuples(st.sampled_from(["orders", "customers", "devices"]), st.integers(0, 5)), max_size=120).map(
    lambda drawn: [Row(number, f"{kind}/{stream}", "t.t", "{}") for number, (kind, stream) in enumerate(drawn)]
)


@given(mixed, st.integers(1, 4))
def test_kinds_that_no_read_model_reads_together_travel_apart_each_stream_in_order(
    drawn: list[Row], lanes: int
) -> None:
    packed = row_batches(drawn, lanes)
    for stream in {row.stream for row in drawn}:
        expected = [row for row in drawn if row.stream == stream]
        assert [row for batch in packed for row in batch.rows if row.stream == stream] == expected
    for batch in packed:
        kinds = topology.kinds_of(batch.message("lane.0", {"more": 1}).headers[topology.KINDS_HEADER])
        assert kinds == {row.kind for row in batch.rows}
        assert kinds == {"devices"} or "devices" not in kinds
