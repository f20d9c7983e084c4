"""Bodies of requests: whose is given up when there is no room, and what the application hears of one that does not come."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from shared.bodies import PIECE_BYTES, Bodies, BodyGivenUpError, ClientGoneError, IncomingBody

PIECE = {"type": "http.request", "body": b"x" * PIECE_BYTES, "more_body": True}
LAST = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


class Client:
    """What a client sends, when a test has it send."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(self) -> Any:
        return await self.sent.get()

    async def send(self, message: Any) -> None:
        pass


Open = Callable[[Bodies, str], tuple[Client, IncomingBody]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    with ExitStack() as stack:

        def open_(bodies: Bodies, address: str) -> tuple[Client, IncomingBody]:
            client = Client()
            body: AbstractContextManager[IncomingBody] = bodies.incoming(address, client.receive, client.send)
            return client, stack.enter_context(body)

        yield open_


async def waiting(body: IncomingBody) -> asyncio.Task[Any]:
    task = asyncio.create_task(body.receive())
    await asyncio.sleep(0)
    return task


async def test_the_oldest_of_the_client_that_sends_most_of_them_is_given_up_first(opened: Open) -> None:
    bodies = Bodies()
    _, honest = opened(bodies, "honest")
    flood = [opened(bodies, "flood")[1] for _ in range(3)]
    tasks = {body: await waiting(body) for body in (honest, *flood)}
    assert bodies.give_one_up()
    assert bodies.give_one_up()
    for body in flood[:2]:
        with pytest.raises(BodyGivenUpError):
            await tasks.pop(body)
    assert not any(task.done() for task in tasks.values())
    for task in tasks.values():
        task.cancel()


async def test_nobody_is_given_up_whose_body_is_complete(opened: Open) -> None:
    bodies = Bodies()
    client, body = opened(bodies, "a")
    client.sent.put_nowait(LAST)
    assert await body.receive() == LAST
    assert not bodies.give_one_up()


async def test_bodies_together_never_take_more_than_there_is_room_for(opened: Open) -> None:
    bodies = Bodies(most_bytes=2 * PIECE_BYTES + PIECE_BYTES // 2)
    first, second = opened(bodies, "a"), opened(bodies, "b")
    for client, body in (first, second):
        client.sent.put_nowait(PIECE)
        assert await body.receive() == PIECE
    task = await waiting(first[1])
    second[0].sent.put_nowait(PIECE)
    assert await second[1].receive() == PIECE
    with pytest.raises(BodyGivenUpError):
        await task
    second[0].sent.put_nowait(PIECE)
    with pytest.raises(BodyGivenUpError):
        await second[1].receive()


async def test_drops_are_collected_until_they_are_worth_it(opened: Open) -> None:
    client, body = opened(Bodies(), "a")
    for drop in (b"{", b"}", b""):
        client.sent.put_nowait({"type": "http.request", "body": drop, "more_body": bool(drop)})
    assert await body.receive() == {"type": "http.request", "body": b"{}", "more_body": False}


async def test_a_request_that_has_been_answered_takes_no_room(opened: Open) -> None:
    bodies = Bodies(most_bytes=PIECE_BYTES)
    for _ in range(3):
        client = Client()
        client.sent.put_nowait(PIECE)
        with bodies.incoming("a", client.receive, client.send) as body:
            assert await body.receive() == PIECE


async def test_a_client_that_leaves_is_an_error_only_before_the_answer_has_begun(opened: Open) -> None:
    client, body = opened(Bodies(), "a")
    client.sent.put_nowait(GONE)
    with pytest.raises(ClientGoneError):
        await body.receive()
    client, body = opened(Bodies(), "a")
    await body.send({"type": "http.response.start"})
    client.sent.put_nowait(GONE)
    assert await body.receive() == GONE


async def test_after_the_body_the_application_waits_for_the_client_to_leave_as_long_as_it_likes(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.bodies.GRACE_S", 0.0)
    monkeypatch.setattr("shared.bodies.LEAST_BYTES_S", 10_000)
    client, body = opened(Bodies(), "a")
    client.sent.put_nowait(LAST)
    await body.receive()
    task = await waiting(body)
    await asyncio.sleep(0.05)
    client.sent.put_nowait(GONE)
    assert await task == GONE
