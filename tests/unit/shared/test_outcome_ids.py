"""An id of an outcome stands for one content: whoever removes duplicates by it loses nothing."""

from hypothesis import given
from hypothesis import strategies as st

from shared.messages.outcomes import Rejected, outcome_id, refusal_id, reuse_refusal_id

sources = st.text(alphabet="ab/", min_size=1, max_size=6)
ids = st.text(alphabet="ab.", min_size=1, max_size=4)


@given(sources, ids, sources, ids)
def test_two_commands_have_two_outcome_ids_and_neither_is_one_from_before_there_were_sources(
    one: str, first: str, other: str, second: str
) -> None:
    assert (outcome_id(one, first) == outcome_id(other, second)) == ((one, first) == (other, second))
    assert outcome_id(one, first) != f"{second}/outcome"


@given(sources, ids, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_refusal_for_reuse_has_an_id_for_each_body(source: str, id_: str, one: bytes, other: bytes) -> None:
    assert (reuse_refusal_id(source, id_, one) == reuse_refusal_id(source, id_, other)) == (one == other)
    assert reuse_refusal_id(source, id_, one) != outcome_id(source, id_)


def test_a_refusal_of_what_has_no_name_is_named_by_what_it_says_and_of_what() -> None:
    refusal = Rejected(command_id="", command_type="", code="malformed-message", message="not JSON")
    other = refusal.model_copy(update={"message": "an empty batch"})
    found = [
        refusal_id(refusal, b"one", 0),
        refusal_id(refusal, b"one", 1),
        refusal_id(refusal, b"two", 0),
        refusal_id(other, b"one", 0),
    ]
    assert len(set(found)) == 4
    assert refusal_id(refusal, b"one", 0) == found[0]
