"""Commands are packed by type, bounded by number and bytes, and never with the same id twice."""

import json

from deploy.sending.batches import CommandMessage, batches, command_message


def some(type_: str, *ids: str, size: int = 10) -> list[CommandMessage]:
    return [CommandMessage(id_, type_, b"x" * size) for id_ in ids]


def test_neighbours_of_one_type_travel_together_in_order() -> None:
    packed = list(batches(some("a.b", "1", "2") + some("a.c", "3") + some("a.b", "4")))
    assert [(p.type, [c.id for c in p.commands]) for p in packed] == [
        ("a.b", ["1", "2"]),
        ("a.c", ["3"]),
        ("a.b", ["4"]),
    ]


def test_a_batch_is_bounded_by_number_and_by_bytes() -> None:
    commands = some("a.b", *map(str, range(7)))
    assert [len(p.commands) for p in batches(commands, most=3)] == [3, 3, 1]
    assert [len(p.commands) for p in batches(commands, most_bytes=25)] == [2, 2, 2, 1]
    assert [len(p.commands) for p in batches(some("a.b", "1", "2", size=50), most_bytes=25)] == [1, 1]


def test_the_same_id_never_travels_twice_in_one_batch() -> None:
    assert [len(p.commands) for p in batches(some("a.b", "1", "2", "1", "3"))] == [2, 2]


def test_one_command_travels_in_the_structured_form_several_in_the_batch_form() -> None:
    one = command_message("orders.pay-order", "c-1", {"amount": 5}, source="test", subject="o-1")
    two = command_message("orders.pay-order", "c-2", {"amount": 6}, source="test")
    [single] = batches([one])
    [batch] = batches([one, two])
    assert single.content_type == "application/cloudevents+json"
    assert json.loads(single.body)["subject"] == "o-1"
    assert batch.content_type == "application/cloudevents-batch+json"
    assert [envelope["id"] for envelope in json.loads(batch.body)] == ["c-1", "c-2"]
