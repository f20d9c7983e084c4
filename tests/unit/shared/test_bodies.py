"""Bodies of requests: read whole, and whose is given up when there is no room."""

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest

from shared.http.bodies import BodyEvictedError, ClientGoneError, RequestBodies, RequestBody, SlowBodyError
from shared.messages.envelope import MAX_MESSAGE_BYTES


class Client:
    """What a client sends, when a test has it send."""

    def __init__(self, stack: ExitStack, bodies: RequestBodies, address: str) -> None:
        self.body: RequestBody = stack.enter_context(bodies.incoming(address))
        self._sent: asyncio.Queue[Any] = asyncio.Queue()
        self._reading: asyncio.Task[Any] | None = None

    def sends(self, body: bytes, *, more: bool = True) -> None:
        self._sent.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leaves(self) -> None:
        self._sent.put_nowait({"type": "http.disconnect"})

    async def is_read(self) -> asyncio.Task[Any]:
        """Up to where the next message is waited for."""
        self._reading = self._reading or asyncio.create_task(self.body.read(self._sent.get))
        while not self._sent.empty() and not self._reading.done():  # noqa: ASYNC110 - step by step
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        return self._reading


async def test_the_application_gets_the_whole_at_once() -> None:
    with ExitStack() as stack:
        client = Client(stack, RequestBodies(), "a")
        for drop in (b"{", b"}"):
            client.sends(drop)
        client.sends(b"", more=False)
        assert await client.body.read(client._sent.get) == {"type": "http.request", "body": b"{}", "more_body": False}


async def test_of_one_that_is_larger_than_any_may_be_it_gets_the_beginning() -> None:
    with ExitStack() as stack:
        client = Client(stack, RequestBodies(), "a")
        for _ in range(3):
            client.sends(b"x" * (MAX_MESSAGE_BYTES // 2 + 1))
        message = await client.body.read(client._sent.get)
        assert (len(message["body"]), message["more_body"]) == (MAX_MESSAGE_BYTES + 2, True)


async def test_each_piece_gives_it_more_time_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("GRACE_S", 0.05), ("SPREAD_S", 0.0), ("LONGEST_S", 0.2)):
        monkeypatch.setattr(f"shared.http.bodies.{name}", seconds)
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        for sent, least, most in ((b"", 0.04, 0.15), (b"x" * MAX_MESSAGE_BYTES, 0.19, 2.0)):
            client = Client(stack, RequestBodies(), "a")
            client.sends(sent)
            began = loop.time()
            with pytest.raises(SlowBodyError):
                await client.body.read(client._sent.get)
            assert least < loop.time() - began < most


async def test_a_body_in_many_drops_is_read_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("GRACE_S", 0.5), ("SPREAD_S", 0.0), ("PROMPT_S", 0.02)):
        monkeypatch.setattr(f"shared.http.bodies.{name}", seconds)
    reads = 0

    async def drip() -> Any:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.002)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with RequestBodies().incoming("a") as body, pytest.raises(SlowBodyError):
        await body.read(drip)
    assert reads < 40


async def test_a_client_that_leaves_is_not_answered() -> None:
    with ExitStack() as stack:
        client = Client(stack, RequestBodies(), "a")
        client.sends(b"{")
        client.leaves()
        with pytest.raises(ClientGoneError):
            await client.body.read(client._sent.get)


async def test_the_oldest_of_the_client_that_sends_most_of_them_is_given_up_first() -> None:
    with ExitStack() as stack:
        bodies = RequestBodies()
        honest = Client(stack, bodies, "honest")
        flood = [Client(stack, bodies, "flood") for _ in range(3)]
        tasks = {client: await client.is_read() for client in (honest, *flood)}
        assert bodies.evict_one()
        assert bodies.evict_one()
        for client in flood[:2]:
            with pytest.raises(BodyEvictedError):
                await tasks.pop(client)
        assert not any(task.done() for task in tasks.values())
        for task in tasks.values():
            task.cancel()


async def test_nobody_is_given_up_whose_body_is_complete() -> None:
    with ExitStack() as stack:
        bodies = RequestBodies()
        client = Client(stack, bodies, "a")
        client.sends(b"{}", more=False)
        await client.is_read()
        assert not bodies.evict_one()


async def test_bodies_together_never_take_more_than_there_is_room_for() -> None:
    with ExitStack() as stack:
        bodies = RequestBodies(max_bytes=250)
        complete, slow, late = (Client(stack, bodies, address) for address in "abc")
        complete.sends(b"x" * 100, more=False)
        await complete.is_read()
        slow.sends(b"x" * 100)
        given_up = await slow.is_read()
        late.sends(b"x" * 100)
        reading = await late.is_read()
        with pytest.raises(BodyEvictedError):
            await given_up
        late.sends(b"x" * 100)
        await late.is_read()
        with pytest.raises(BodyEvictedError):
            await reading


async def test_a_request_that_has_been_answered_takes_no_room() -> None:
    bodies = RequestBodies(max_bytes=100)
    for _ in range(3):
        with ExitStack() as stack:
            client = Client(stack, bodies, "a")
            client.sends(b"x" * 100, more=False)
            assert (await client.body.read(client._sent.get))["body"] == b"x" * 100
