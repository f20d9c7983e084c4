"""A dead stream is due until its letter is confirmed, and then no more: whoever dies in between leaves it to the sweep."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from projectors.generations.roles import Role
from projectors.runtime.applying import KILLED, Applier, ApplyResult
from projectors.runtime.decoding import ArrivedEvent, Unreadable
from projectors.runtime.retry import LETTER_AFTER
from projectors.stores.port import Event, HoldStatus
from shared.messaging import topology
from tests.memory_store import MemoryStore
from tests.shop import NOON

LATER = NOON + LETTER_AFTER
STREAMS = ("orders/a", "orders/b")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.failing = {*STREAMS}
    return store


def applier(store: MemoryStore, role: Role = Role.ACTIVE) -> Applier:
    """Whatever fails is dead at once."""
    return Applier("memory", store, tiers=(), clock=lambda: NOON, role=role)


def arrived(*streams: str, version: int = 1, automatic: bool = False) -> list[ArrivedEvent]:
    return [
        ArrivedEvent(
            Event(f"{stream}@{version}", "test.happened", stream, version, NOON, Unreadable(), lane=0),
            {"subject": stream, "streamversion": version},
            automatic=automatic,
        )
        for stream in streams
    ]


def letters_in(applied: ApplyResult) -> list[tuple[object, object]]:
    """(stream, attempts) of each."""
    letters = [message for message in applied.outgoing if message.exchange == topology.DEAD]
    return [(letter.headers["tidemark-stream"], letter.headers["tidemark-attempts"]) for letter in letters]


async def due(store: MemoryStore) -> list[str]:
    return [stream for stream, _ in await store.overdue(LATER, 10)]


async def test_whoever_dies_before_the_letters_leaves_streams_that_are_asked_for_again_and_get_them(
    store: MemoryStore,
) -> None:
    await applier(store).apply(arrived(*STREAMS))
    assert await store.overdue(LATER - timedelta(seconds=1), 10) == []
    assert await due(store) == [*STREAMS]
    again = await applier(store).apply(arrived(*STREAMS))
    assert letters_in(again) == [(stream, 2) for stream in STREAMS]
    assert list(again.letters) == [*STREAMS]


async def test_a_confirmed_letter_is_the_end_of_asking(store: MemoryStore) -> None:
    dead = await applier(store).apply(arrived(*STREAMS))
    await applier(store).confirmed(dead.letters)
    assert await due(store) == []
    assert {hold.status for hold in store.holds.values()} == {HoldStatus.DEAD}


async def test_what_comes_behind_a_dead_event_does_not_pass_for_its_letter(store: MemoryStore) -> None:
    await applier(store).apply(arrived("orders/a"))
    behind = await applier(store).apply(arrived("orders/a", version=2))
    assert (behind.letters, behind.outgoing) == ({}, [])
    assert await due(store) == ["orders/a"]


async def test_a_store_that_is_away_when_a_letter_is_confirmed_leaves_the_stream_due(store: MemoryStore) -> None:
    dead = await applier(store).apply(arrived("orders/a"))
    store.down = True
    await asyncio.wait_for(applier(store).confirmed(dead.letters), 1)
    store.down = False
    assert await due(store) == ["orders/a"]


async def test_a_letter_that_is_confirmed_after_a_replay_or_a_discard_changes_nothing(store: MemoryStore) -> None:
    dead = await applier(store).apply(arrived(*STREAMS))
    store.failing = set()
    await applier(store).apply(arrived("orders/a"))
    await applier(store).step_over("orders/b", 1)
    await applier(store).confirmed(dead.letters)
    assert (store.applied, store.holds) == ({"orders/a": 1, "orders/b": 1}, {})


async def test_an_event_that_was_given_up_for_killing_the_process_is_due_too(store: MemoryStore) -> None:
    [item] = arrived("orders/a")
    given_up = await applier(store).record_attempt(item)
    assert given_up is not None
    assert (letters_in(given_up), store.holds["orders/a"].reason) == ([("orders/a", 1)], KILLED.reason)
    assert await due(store) == ["orders/a"]
    await applier(store).confirmed(given_up.letters)
    assert store.holds["orders/a"].due_at is None


async def test_a_generation_that_nobody_reads_writes_no_letter_of_what_killed_the_process(store: MemoryStore) -> None:
    [item] = arrived("orders/a")
    given_up = await applier(store, Role.FOLLOWING).record_attempt(item)
    assert given_up == ApplyResult()
    assert await due(store) == []
    assert await store.unreported(LATER, 10) == [("orders/a", 0)]


async def test_what_comes_by_itself_once_the_letter_is_out_is_not_tried_again(store: MemoryStore) -> None:
    dead = await applier(store).apply(arrived("orders/a"))
    await applier(store).confirmed(dead.letters)
    before = store.holds["orders/a"]
    late = await applier(store).apply(arrived("orders/a", automatic=True))
    assert (late, store.holds["orders/a"]) == (ApplyResult(), before)


async def test_nor_is_what_cannot_be_read(store: MemoryStore) -> None:
    [item] = arrived("orders/a", automatic=True)
    unreadable = msgspec.structs.replace(item, failure=KILLED)
    dead = await applier(store).apply([unreadable])
    assert letters_in(dead) == [("orders/a", 1)]
    await applier(store).confirmed(dead.letters)
    assert await applier(store).apply([unreadable]) == ApplyResult()


async def test_what_comes_by_itself_behind_a_dead_event_is_still_noted(store: MemoryStore) -> None:
    dead = await applier(store).apply(arrived("orders/a"))
    await applier(store).confirmed(dead.letters)
    again = arrived("orders/a", automatic=True) + arrived("orders/a", version=2, automatic=True)
    assert await applier(store).apply(again) == ApplyResult()
    assert (store.holds["orders/a"].seen, store.holds["orders/a"].attempts) == (2, 1)


@pytest.mark.parametrize(
    "arrivals",
    [
        arrived("orders/a"),
        arrived("orders/a") + arrived("orders/a", automatic=True),
        arrived("orders/a", automatic=True) + arrived("orders/a"),
    ],
    ids=["alone", "first", "last"],
)
async def test_what_an_operator_sends_is_tried_again_whatever_comes_with_it(
    store: MemoryStore, arrivals: Sequence[ArrivedEvent]
) -> None:
    dead = await applier(store).apply(arrived("orders/a"))
    await applier(store).confirmed(dead.letters)
    assert letters_in(await applier(store).apply(arrivals)) == [("orders/a", 2)]
    store.failing = set()
    await applier(store).apply(arrivals)
    assert (store.applied, store.holds) == ({"orders/a": 1}, {})


async def test_what_comes_by_itself_while_the_letter_is_in_hand_is_not_tried_again(store: MemoryStore) -> None:
    """Several resends in one batch, which is applied in parts: the letter of the first is published after the last."""
    dead = await applier(store).apply(arrived("orders/a"))
    late = arrived("orders/a", automatic=True)
    assert await applier(store).apply(late, letters=dead.letters) == ApplyResult()
    again = await applier(store).apply(late)
    assert letters_in(again) == [("orders/a", 2)]
    once_more = await applier(store).apply(late, letters=dead.letters)
    assert letters_in(once_more) == [("orders/a", 3)], "the letter in hand is of another attempt"


async def test_what_may_kill_the_process_is_not_tried_again_by_itself_either(store: MemoryStore) -> None:
    [item] = arrived("orders/a")
    given_up = await applier(store).record_attempt(item)
    assert given_up is not None
    await applier(store).confirmed(given_up.letters)
    before = store.holds["orders/a"]
    [late] = arrived("orders/a", automatic=True)
    assert await applier(store).record_attempt(late) == ApplyResult()
    assert store.holds["orders/a"] == before
    assert await applier(store).record_attempt(item) is None
