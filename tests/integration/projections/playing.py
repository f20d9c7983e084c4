"""A projector that answers as it is told, and the registry that it would have written."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import aio_pika
import asyncpg

from shared.messaging import topology
from shared.read_models import named
from shared.runtime.settings import Settings
from shared.views.generations import (
    ACCEPTED,
    REJECTED,
    Generation,
    GenerationAnswer,
    GenerationRefused,
    GenerationsChanged,
    GenerationState,
)

BEGUN: Final = datetime(2026, 4, 1, 12, tzinfo=UTC)
_COLUMNS: Final = tuple(Generation.model_fields)
_INSERT: Final = (
    f"INSERT INTO summary_registry.generations ({', '.join(_COLUMNS)})"  # noqa: S608 - columns of ours
    f" VALUES ({', '.join(f'${number}' for number in range(1, len(_COLUMNS) + 1))})"
)


def generation(number: int, *, active: bool = False, ready: bool = True, **more: Any) -> Generation:
    return Generation(
        number=number,
        state=GenerationState.READY if ready else GenerationState.BUILDING,
        active=active,
        begun_at=BEGUN,
        updated_at=BEGUN,
        **{"kinds": tuple(named("summary").kinds)} | more,
    )


@dataclass
class Registry:
    """Which generations the summary has, as its projector would have written them."""

    database: asyncpg.Connection

    async def says(self, *generations: Generation) -> None:
        async with self.database.transaction():
            await self.database.execute("DELETE FROM summary_registry.generations")
            for one in generations:
                await self.database.execute(_INSERT, *(getattr(one, name) for name in _COLUMNS))


@dataclass
class Projector:
    """Answers as it is told to, and remembers what it was asked."""

    answers: Callable[[str, Any], list[Generation] | GenerationRefused]
    asked: list[tuple[str, Any]] = field(default_factory=list)


@asynccontextmanager
async def playing(
    settings: Settings, answers: Callable[[str, Any], Any], projection: str = "summary"
) -> AsyncIterator[Projector]:
    projector = Projector(answers)
    connection = await aio_pika.connect(settings.rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue(topology.control_queue(projection), ensure=False)
        await queue.purge()

        async def answer(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            async with message.process():
                request = json.loads(message.body)
                verb = (message.routing_key or "").rpartition(".")[2]
                projector.asked.append((verb, request["data"]))
                result = projector.answers(verb, request["data"])
                data: GenerationsChanged | GenerationRefused = (
                    result.model_copy(update={"request_id": request["id"]})
                    if isinstance(result, GenerationRefused)
                    else GenerationsChanged(request_id=request["id"], projection=projection, generations=result)
                )
                envelope = GenerationAnswer(
                    id="answer",
                    source="test",
                    type=REJECTED if isinstance(data, GenerationRefused) else ACCEPTED,
                    time=BEGUN,
                    data=data,
                )
                reply = aio_pika.Message(envelope.model_dump_json().encode(), correlation_id=message.correlation_id)
                await channel.default_exchange.publish(reply, message.reply_to or "")

        await queue.consume(answer)
        yield projector


def refusal(code: str, message: str = "no") -> GenerationRefused:
    return GenerationRefused(request_id="", code=code, message=message)
