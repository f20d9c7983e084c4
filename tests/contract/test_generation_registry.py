"""What every registry of generations promises; see ``projectors.generations.registry``."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.servers.provide import Servers
from projectors.generations.registry import AppliedPage, GenerationRegistry
from projectors.stores.port import Commit, StoreUnavailableError
from shared.contracts.registry import KINDS
from shared.views.generations import Generation, GenerationState
from tests import shop
from tests.contract.registries import PostgresUnderTest, RedisUnderTest, RegistryUnderTest

PAGE = AppliedPage(("", 0), ("orders/o-7", 2), 100, 250, shop.NOON, done=False)
LAST = AppliedPage(("orders/o-7", 2), ("orders/o-9", 1), 50, 999, shop.NOON, done=True)


@pytest.fixture(params=["postgres", "redis"])
async def place(request: pytest.FixtureRequest, servers: Servers) -> RegistryUnderTest:
    urls = {"postgres": servers.stores["summary"], "redis": servers.stores["analytics"]}
    kinds: dict[str, type[RegistryUnderTest]] = {"postgres": PostgresUnderTest, "redis": RedisUnderTest}
    found = kinds[request.param](urls[request.param])
    await found.forget_everything()
    return found


@pytest.fixture
async def registry(place: RegistryUnderTest) -> AsyncIterator[GenerationRegistry]:
    registry = place.connect()
    await registry.open()
    yield registry
    await registry.close()


async def built(registry: GenerationRegistry, number: int) -> None:
    await registry.begin(number, kinds=KINDS, rate=None, by=f"order-{number}")
    await registry.scanned(number, AppliedPage(("", 0), ("z", 1), 1, 1, shop.NOON, done=True))
    await registry.ready(number)


async def get(registry: GenerationRegistry, number: int) -> Generation:
    return next(each for each in await registry.generations() if each.number == number)


async def active(registry: GenerationRegistry) -> list[int]:
    return [each.number for each in await registry.generations() if each.active]


async def test_at_first_there_is_one_generation_and_it_is_active(registry: GenerationRegistry) -> None:
    [first] = await registry.generations()
    assert (first.number, first.active, first.state) == (1, True, GenerationState.READY)


async def test_a_new_generation_has_a_place_of_its_own_and_is_building(
    registry: GenerationRegistry, place: RegistryUnderTest
) -> None:
    await registry.begin(2, kinds=KINDS, rate=500.0, by="order-1")
    first, second = await registry.generations()
    assert (first.number, first.active) == (1, True)
    assert (second.number, second.state, second.active) == (2, GenerationState.BUILDING, False)
    assert (second.rate, second.begun_by, second.scanned, second.done) == (500.0, "order-1", 0, False)
    store = place.store(2)
    await store.open()
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    assert (await store.positions(["orders/o-1"]))["orders/o-1"].applied == 1
    await store.close()


async def test_beginning_again_changes_nothing(registry: GenerationRegistry) -> None:
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    await registry.scanned(2, PAGE)
    before = await registry.generations()
    await registry.begin(2, kinds=KINDS, rate=7.0, by="order-2")
    assert await registry.generations() == before


async def test_what_is_discarded_in_the_active_generation_is_so_in_a_new_one(
    registry: GenerationRegistry, place: RegistryUnderTest
) -> None:
    first = place.store(1)
    await first.open()
    await first.commit(Commit(discarded=[("orders/o-1", 3), ("orders/o-1", 5)]))
    await first.close()
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    second = place.store(2)
    await second.open()
    assert (await second.positions(["orders/o-1"]))["orders/o-1"].discarded == {3, 5}
    await second.close()


async def test_the_cursor_moves_from_where_the_page_begins_and_from_nowhere_else(registry: GenerationRegistry) -> None:
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    assert not await registry.scanned(2, LAST)
    assert await registry.scanned(2, PAGE)
    assert not await registry.scanned(2, PAGE)
    at = await get(registry, 2)
    assert (at.cursor_stream, at.cursor_version, at.scanned, at.total, at.done) == ("orders/o-7", 2, 100, 250, False)
    assert await registry.scanned(2, LAST)
    at = await get(registry, 2)
    assert (at.cursor_stream, at.scanned, at.total, at.done, at.reads_since) == (
        "orders/o-9",
        150,
        250,
        True,
        shop.NOON,
    )
    assert not await registry.scanned(3, PAGE)


async def test_of_several_who_claim_one_gets_it(registry: GenerationRegistry, place: RegistryUnderTest) -> None:
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    seen = await get(registry, 2)
    others = [place.connect() for _ in range(4)]
    claims = await asyncio.gather(*(each.claim(seen) for each in others))
    assert sorted(claims) == [False, False, False, True]
    assert not await registry.claim(seen)
    again = await get(registry, 2)
    assert again.updated_at > seen.updated_at
    await registry.touch(2)
    assert not await registry.claim(again)
    await asyncio.gather(*(each.close() for each in others))


async def test_lanes_are_settled_once_all_of_history_is_in_and_only_then_it_is_ready(
    registry: GenerationRegistry,
) -> None:
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    await registry.settled(2, 0)
    await registry.ready(2)
    assert ((await get(registry, 2)).settled, (await get(registry, 2)).state) == ((), GenerationState.BUILDING)
    await registry.scanned(2, PAGE)
    await registry.scanned(2, LAST)
    for lane in (3, 0, 3):
        await registry.settled(2, lane)
    await registry.ready(2)
    at = await get(registry, 2)
    assert (sorted(at.settled), at.state) == ([0, 3], GenerationState.READY)
    assert at.ready_at is not None


async def test_exactly_one_generation_is_active_whoever_switches(
    registry: GenerationRegistry, place: RegistryUnderTest
) -> None:
    for number in (2, 3):
        await built(registry, number)
    others = [place.connect() for _ in range(3)]
    switching = [each.activate(1 + (n + turn) % 3, by="somebody") for turn in range(6) for n, each in enumerate(others)]
    looking = [active(registry) for _ in range(6)]
    found = await asyncio.gather(*switching, *looking)
    assert all(found[: len(switching)])
    assert all(isinstance(each, list) and len(each) == 1 for each in found[len(switching) :])
    await asyncio.gather(*(each.close() for each in others))


async def test_only_a_ready_generation_becomes_active_and_who_did_it_is_kept(registry: GenerationRegistry) -> None:
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    assert not await registry.activate(2, by="order-2")
    assert not await registry.activate(3, by="order-2")
    assert await active(registry) == [1]
    await registry.scanned(2, AppliedPage(("", 0), ("z", 1), 1, 1, shop.NOON, done=True))
    await registry.ready(2)
    assert await registry.activate(2, by="order-3")
    assert await active(registry) == [2]
    at = await get(registry, 2)
    assert at.activated_by == "order-3"
    assert at.activated_at is not None
    assert at.activated_at > ((await get(registry, 1)).activated_at or at.activated_at)


async def test_what_is_dropped_is_gone_with_all_its_data_and_its_number_can_be_used_again(
    registry: GenerationRegistry, place: RegistryUnderTest
) -> None:
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    store = place.store(2)
    await store.open()
    await store.commit(Commit([shop.run(f"orders/o-{n}", shop.placed(f"o-{n}")) for n in range(600)]))
    await registry.drop(2)
    await registry.drop(2)
    assert [each.number for each in await registry.generations()] == [1]
    assert 2 not in await place.places()
    with pytest.raises(StoreUnavailableError):
        await store.commit(Commit([shop.run("orders/o-9999", shop.placed("o-9999"))]))
    assert 2 not in await place.places()
    await registry.begin(2, kinds=KINDS, rate=None, by="order-2")
    assert (await store.positions(["orders/o-1"]))["orders/o-1"].applied == 0
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await store.close()


async def test_the_active_generation_is_never_dropped_and_the_first_may_be(
    registry: GenerationRegistry, place: RegistryUnderTest
) -> None:
    await built(registry, 2)
    store = place.store(1)
    await store.open()
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await store.close()
    await registry.drop(1)
    assert await active(registry) == [1]
    assert 1 in await place.places()
    await registry.activate(2, by="order-2")
    await registry.drop(1)
    assert [(each.number, each.active) for each in await registry.generations()] == [(2, True)]
    assert 1 not in await place.places()


async def test_what_a_drop_that_was_called_off_has_left_is_not_in_a_new_generation(
    registry: GenerationRegistry, place: RegistryUnderTest
) -> None:
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    store = place.store(2)
    await store.open()
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await store.close()
    await place.forget_row(2)
    await registry.begin(2, kinds=KINDS, rate=None, by="order-2")
    again = place.store(2)
    await again.open()
    assert (await again.positions(["orders/o-1"]))["orders/o-1"].applied == 0
    await again.close()


async def test_it_hears_of_epochs_compares_and_goes_on(registry: GenerationRegistry) -> None:
    await registry.record_epoch(1, "a")
    assert (await get(registry, 1)).epoch == "a"
    await registry.record_epoch(1, "b")
    await registry.compared(1, "b", "", "orders/o-1", False, ["orders/o-0 at 2, not 1"])
    await registry.compared(1, "b", "", "orders/o-1", False, ["orders/o-0 at 2, not 1"])
    await registry.begin(2, kinds=KINDS, rate=None, by="order-1")
    first, second = await registry.generations()
    assert (first.epoch, first.moving_to, first.ahead, first.compare_cursor) == ("a", "b", 1, "orders/o-1")
    assert first.examples == ("orders/o-0 at 2, not 1",)
    assert (second.epoch, second.former, second.moving_to) == ("b", ("a",), None)
    await registry.adopt(1)
    first = await get(registry, 1)
    assert (first.epoch, first.former, first.moving_to, first.ahead) == ("b", ("a",), None, 0)
    await registry.record_epoch(1, "c")
    await registry.compared(1, "c", "", "", True, [])
    assert (await get(registry, 1)).former == ("b", "a")


async def test_it_records_the_kinds_of_stream_that_a_generation_has(registry: GenerationRegistry) -> None:
    assert (await get(registry, 1)).kinds is None
    await registry.begin(2, kinds=("orders", "products"), rate=None, by="order-1")
    assert (await get(registry, 2)).kinds == ("orders", "products")
    assert not await registry.note_kinds(2, None, ("orders",))
    assert not await registry.note_kinds(3, None, ("orders",))
    assert await registry.note_kinds(2, ("orders", "products"), ("products",))
    assert (await get(registry, 2)).kinds == ("products",)
    await registry.record_epoch(1, "a")
    assert await registry.note_kinds(1, None, ("orders", "customers"))
    assert not await registry.note_kinds(1, None, ())
    assert [each.kinds for each in await registry.generations()] == [("orders", "customers"), ("products",)]
    await registry.record_epoch(2, "a")
    await registry.touch(2)
    assert await registry.note_kinds(2, ("products",), ())
    assert (await get(registry, 2)).kinds == ()


async def test_a_registry_that_is_missing_can_be_told_which_kinds_the_first_generation_has(
    registry: GenerationRegistry,
) -> None:
    assert await registry.note_kinds(1, None, ("orders",))
    [first] = await registry.generations()
    assert (first.number, first.active, first.kinds) == (1, True, ("orders",))
