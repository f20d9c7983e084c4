"""Costly answers are kept, for a time in proportion to their cost, until their data changes; never more than there is room for."""

import asyncio
from collections.abc import Callable

import pytest

from query_service.app import open_stores
from query_service.stores.answer_cache import (
    CAPACITY,
    KEPT_PER_COST,
    LONGEST_S,
    OVERHEAD,
    WORTH_S,
    Answer,
    AnswerCache,
    Key,
)
from shared.runtime.settings import Settings

PAGE = Key("summary", 1, ("/products/p-1/page", "", ""))
STREAM = "products/p-1"
COSTLY = WORTH_S * 2


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Counts reads. Each takes ``cost`` seconds of the clock, and waits until it ``may_reply``."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.cost = COSTLY
        self.reads = 0
        self.size = 10
        self.may_reply = asyncio.Event()
        self.may_reply.set()

    async def read(self) -> Answer:
        self.reads += 1
        answer = Answer(str(self.reads).zfill(self.size).encode(), "text/plain", {})
        self.clock.now += self.cost
        await self.may_reply.wait()
        return answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(clock)


@pytest.fixture
def cache(clock: Clock) -> AnswerCache:
    return AnswerCache(clock=clock)


@pytest.fixture
def ask(cache: AnswerCache, store: Store) -> Callable[..., asyncio.Task[int]]:
    """Asks for an answer; its result is the number of the read that it comes from."""

    async def asked(key: Key, *streams: str) -> int:
        return int((await cache.get(key, streams, store.read)).body)

    return lambda key=PAGE, *streams: asyncio.create_task(asked(key, *streams))


Ask = Callable[..., asyncio.Task[int]]


async def test_an_answer_is_kept_in_proportion_to_its_cost(ask: Ask, clock: Clock) -> None:
    assert [await ask(), await ask()] == [1, 1]
    clock.now += COSTLY * KEPT_PER_COST - 0.001
    assert await ask() == 1
    clock.now += 0.002
    assert await ask() == 2


async def test_no_answer_is_kept_longer_than_the_longest(ask: Ask, store: Store, clock: Clock) -> None:
    store.cost = LONGEST_S
    await ask()
    clock.now += LONGEST_S - 0.001
    assert await ask() == 1
    clock.now += 0.002
    assert await ask() == 2


async def test_a_cheap_answer_is_not_kept(ask: Ask, store: Store, cache: AnswerCache) -> None:
    store.cost = WORTH_S / 2
    assert [await ask(), await ask(), cache.size] == [1, 2, 0]


async def test_concurrent_requests_share_one_read_even_if_the_first_goes_away(ask: Ask, store: Store) -> None:
    store.may_reply.clear()
    first, second = ask(), ask()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.may_reply.set()
    assert (await second, store.reads) == (1, 1)


async def test_an_answer_is_dropped_when_one_of_its_streams_changes(ask: Ask, cache: AnswerCache) -> None:
    assert await ask(PAGE, STREAM) == 1
    cache.changed("summary", ["products/p-2"])
    cache.changed("search", [STREAM])
    assert await ask(PAGE, STREAM) == 1
    cache.changed("summary", ["products/p-2", STREAM])
    assert (cache.size, await ask(PAGE, STREAM)) == (0, 2)


async def test_a_read_that_began_before_a_change_is_not_given_to_those_who_ask_after_it(
    ask: Ask, store: Store, cache: AnswerCache
) -> None:
    store.may_reply.clear()
    before = ask(PAGE, STREAM)
    await asyncio.sleep(0)
    cache.changed("summary", [STREAM])
    after = ask(PAGE, STREAM)
    await asyncio.sleep(0)
    store.may_reply.set()
    assert [await before, await after, await ask(PAGE, STREAM)] == [1, 2, 2]
    cache.changed("summary", [STREAM])
    assert await ask(PAGE, STREAM) == 3


async def test_a_dropped_answer_is_read_again_even_while_it_is_being_read(
    ask: Ask, store: Store, cache: AnswerCache
) -> None:
    store.may_reply.clear()
    before = ask()
    await asyncio.sleep(0)
    cache.drop(PAGE)
    after = ask()
    await asyncio.sleep(0)
    store.may_reply.set()
    assert [await before, await after, await ask()] == [1, 2, 2]


async def test_generations_and_questions_are_told_apart_and_a_switch_empties_one_projection(
    ask: Ask, cache: AnswerCache
) -> None:
    keys = [PAGE, Key("summary", 2, PAGE.question), Key("summary", 1, ("/other",)), Key("search", 1, PAGE.question)]
    assert [await ask(key) for key in keys] == [1, 2, 3, 4]
    cache.clear("summary")
    assert [await ask(key) for key in keys] == [5, 6, 7, 4]


async def test_the_least_recently_used_make_room(clock: Clock, store: Store) -> None:
    store.size = 1000
    cache = AnswerCache(10 * (1000 + OVERHEAD), clock)
    keys = [Key("summary", 1, (str(number),)) for number in range(11)]

    async def read_by(key: Key) -> int:
        clock.now = 100.0
        return int((await cache.get(key, (), store.read)).body)

    for key in keys[:10]:
        await read_by(key)
    assert await read_by(keys[0]) == 1
    assert await read_by(keys[10]) == 11
    assert cache.size <= cache.capacity
    assert [await read_by(keys[0]), await read_by(keys[1])] == [1, 12]


async def test_an_answer_that_would_fill_an_eighth_of_the_room_is_not_kept(clock: Clock, store: Store) -> None:
    store.size = 1001
    cache = AnswerCache(8000, clock)
    await cache.get(PAGE, (STREAM,), store.read)
    await cache.get(PAGE, (STREAM,), store.read)
    assert (store.reads, cache.size) == (2, 0)


async def test_without_capacity_every_request_reads(clock: Clock, store: Store) -> None:
    cache = AnswerCache(0, clock)
    answers = await asyncio.gather(*(cache.get(PAGE, (), store.read) for _ in range(3)))
    assert {int(answer.body) for answer in answers} == {1, 2, 3}


async def test_an_error_is_raised_in_all_that_wait_and_not_kept(cache: AnswerCache, store: Store) -> None:
    async def fails() -> Answer:
        store.clock.now += COSTLY
        await asyncio.sleep(0)
        raise LookupError("gone")

    found = await asyncio.gather(*(cache.get(PAGE, (STREAM,), fails) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in found] == [LookupError, LookupError]
    assert int((await cache.get(PAGE, (STREAM,), store.read)).body) == 1


@pytest.mark.parametrize(("setting", "capacity"), [(None, CAPACITY), ("on", CAPACITY), ("off", 0)])
async def test_a_setting_switches_it_off(monkeypatch: pytest.MonkeyPatch, setting: str | None, capacity: int) -> None:
    monkeypatch.setenv("TIDEMARK_READ_DB_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TIDEMARK_ANALYTICS_REDIS_URL", "redis://127.0.0.1:1")
    if setting is not None:
        monkeypatch.setenv("TIDEMARK_CACHE", setting)
    stores = open_stores(Settings())
    assert stores.answers.capacity == capacity
    await stores.close()
