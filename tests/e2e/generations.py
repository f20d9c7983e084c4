"""Ordering generations over the bus, and looking at them, for end-to-end tests."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from deploy.demo.system import settings_for
from deploy.servers.provide import Servers
from projectors.generations.registry import GenerationRegistry
from projectors.stores.projection import projection_of
from shared.messages.control import ACTIVATE, DROP, REBUILD, ROLLBACK, Activate, Drop, Rebuild, Request, Rollback
from shared.messaging import topology
from shared.views.generations import Generation, GenerationAnswer, GenerationRefused, GenerationsChanged
from tests.e2e.bus import Bus

READY_WITHIN_S: Final = 60.0
Order = Rebuild | Activate | Rollback | Drop
SHAPES: Final[dict[type[Order], tuple[str, type[Request[Any]]]]] = {
    Rebuild: (REBUILD, Request[Rebuild]),
    Activate: (ACTIVATE, Request[Activate]),
    Rollback: (ROLLBACK, Request[Rollback]),
    Drop: (DROP, Request[Drop]),
}


async def order(bus: Bus, what: Order, *, id_: str | None = None) -> GenerationsChanged | GenerationRefused:
    """The projector's answer."""
    kind, shape = SHAPES[type(what)]
    request = shape(id=id_ or uuid4().hex, source="tests", type=kind, time=datetime.now(UTC), data=what)
    key = topology.rebuild_key(what.projection, kind.removeprefix("control."))
    answer = await bus.ask(request.model_dump_json().encode(), exchange=topology.CONTROL, routing_key=key)
    return GenerationAnswer.model_validate_json(answer).data


async def done(bus: Bus, what: Order, *, id_: str | None = None) -> Sequence[Generation]:
    """The generations that there are after it."""
    answer = await order(bus, what, id_=id_)
    assert isinstance(answer, GenerationsChanged), answer
    return answer.generations


async def refused(bus: Bus, what: Order) -> str:
    answer = await order(bus, what)
    assert isinstance(answer, GenerationRefused), answer
    return answer.code


@asynccontextmanager
async def registry_of(servers: Servers, projection: str) -> AsyncIterator[GenerationRegistry]:
    registry = projection_of(projection).registry(settings_for(servers))
    try:
        yield registry
    finally:
        await registry.close()


async def generation(servers: Servers, projection: str, number: int) -> Generation:
    async with registry_of(servers, projection) as registry:
        return next(each for each in await registry.generations() if each.number == number)


async def until_ready(
    servers: Servers, projection: str, number: int, *, within_s: float = READY_WITHIN_S
) -> Generation:
    found: Generation | None = None
    async with registry_of(servers, projection) as registry:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    found = next(each for each in await registry.generations() if each.number == number)
                    if found.ready_at is not None:
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"generation {number} of {projection} is not ready: {found}") from None
