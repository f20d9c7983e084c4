"""JSON from outside means one thing, and is bounded: keys come once, and nesting ends where the parser says so, never in a crash."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.handling.parsing import MALFORMED, Command, Invalid, Undecodable, read
from shared.messages.envelope import MAX_DEPTH, EnvelopeError, parse

ENVELOPE = (
    '{"specversion": "1.0", "id": "k-1", "source": "test", "type": "orders.pay-order", "subject": "o-1", "data": %s}'
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@given(JSON, st.sampled_from([None, (",", ":"), (" , ", " : ")]))
def test_what_has_each_key_once_is_read_as_the_standard_library_reads_it(
    value: Any, separators: tuple[str, str] | None
) -> None:
    text = json.dumps(value, separators=separators)
    assert parse(text) == parse(text.encode()) == parse(text, exact=True) == json.loads(text)


@given(st.text(), JSON, JSON, st.integers(0, 5), st.booleans())
def test_an_object_with_a_key_twice_is_refused_wherever_it_is(
    key: str, first: Any, second: Any, depth: int, escaped: bool
) -> None:
    name, same = json.dumps(key), json.dumps(key, ensure_ascii=escaped)
    text = f'{{{name}: {json.dumps(first)}, "x{len(key)}y": 1, {same}: {json.dumps(second)}}}'
    for _ in range(depth):
        text = f'{{"outer": [1, {text}]}}'
    with pytest.raises(EnvelopeError, match="JSON with a key twice"):
        parse(text)
    with pytest.raises(EnvelopeError):
        parse(text, exact=True)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 2, 300, 1_000, 100_000])
@pytest.mark.parametrize("form", ["%s", '{"a": %s}', '{"a": [{"b": %s}]}'])
def test_deeper_nesting_is_refused_as_such(levels: int, form: str) -> None:
    with pytest.raises(EnvelopeError, match=f"nested too deeply: {MAX_DEPTH} levels"):
        parse(form % nested(levels))
    assert parse(nested(MAX_DEPTH)) is not None


@pytest.mark.parametrize("body", [ENVELOPE % nested(100_000), nested(100_000), "[" + ENVELOPE % nested(500) + "]"])
def test_a_deep_message_on_the_bus_is_malformed(body: str) -> None:
    (part,) = read(body.encode()).parts
    assert isinstance(part, Undecodable)
    assert part.code == MALFORMED
    assert "nested too deeply" in part.message


@pytest.mark.parametrize("kind", ["orders.pay-order", "devices.record-telemetry"])
def test_the_deepest_data_that_can_be_read_is_refused_by_its_contract_with_an_outcome(kind: str) -> None:
    body = (ENVELOPE.replace("orders.pay-order", kind) % f'{{"amount": {nested(MAX_DEPTH - 2)}}}').encode()
    (part,) = read(body).parts
    assert isinstance(part, Command)
    assert isinstance(part.task, Invalid)
    assert part.task.code == "validation-failed"


@pytest.mark.parametrize(
    "body",
    [
        ENVELOPE.replace('"id": "k-1"', '"id": "k-1", "id": "k-2"') % '{"amount": 1}',
        ENVELOPE % '{"amount": 1, "amount": 100}',
        ENVELOPE % '{"amount": 1, "\\u0061mount": 100}',
        "[" + ENVELOPE % '{"amount": 1}' + "," + ENVELOPE % '{"amount": 1, "amount": 2}' + "]",
    ],
)
def test_a_message_with_a_key_twice_is_malformed_as_a_whole(body: str) -> None:
    (part,) = read(body.encode()).parts
    assert isinstance(part, Undecodable)
    assert (part.code, part.is_dead_letter) == (MALFORMED, True)
    assert "a key twice" in part.message


def test_in_binary_mode_it_is_refused_with_an_outcome() -> None:
    headers = {"cloudEvents:specversion": "1.0", "cloudEvents:id": "k-1", "cloudEvents:source": "test"}
    headers |= {"cloudEvents:type": "orders.pay-order", "cloudEvents:subject": "o-1"}
    (part,) = read(b'{"amount": 1, "amount": 2}', headers=headers, content_type="application/json").parts
    assert isinstance(part, Command)
    assert isinstance(part.task, Invalid)
    assert part.task.code == "validation-failed"
