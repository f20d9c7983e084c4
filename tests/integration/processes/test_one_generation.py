"""A process manager has one generation, of the kinds of stream that it reads now."""

from collections.abc import AsyncIterator

import pytest

from projectors.generations.requests import RefusedError
from projectors.process_runtime.worker import OneGeneration
from tests.process_manager import changed


@pytest.fixture
async def registry(process_schema: str) -> AsyncIterator[OneGeneration]:
    made = OneGeneration(changed(), process_schema)
    yield made
    await made.close()


async def test_a_kind_that_is_added_is_read_from_then_on(registry: OneGeneration, process_schema: str) -> None:
    (before,) = await registry.generations()
    assert before.kinds == ("orders", "customers")
    more = OneGeneration(changed(kinds=("orders", "customers", "products")), process_schema)
    for _ in range(2):
        (after,) = await more.generations()
        assert (after.number, after.active, after.kinds) == (1, True, ("orders", "customers", "products"))
    await more.close()


async def test_another_generation_is_refused(registry: OneGeneration) -> None:
    with pytest.raises(RefusedError, match="migrate"):
        await registry.begin(2, kinds=("orders",), rate=None, by="r-1")
    assert len(await registry.generations()) == 1
