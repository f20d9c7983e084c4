"""What operators order about the generations of a projection: rebuild, activate, rollback, drop. Each is answered, and may come twice.
What is done is told for the audit: nobody waits for that to be kept.

rebuild   a new generation, building from history beside the others; one at a time
activate  a ready one is the one that is read, from one moment to the next; the news of it goes out on ``changes``
rollback  the same, for the one that was read before
adopt-epoch  what a restore has lost stays in the generation, which goes on in the new epoch
drop      a generation that is not read is forgotten, with its data
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from projectors.generations.hosting import Generations
from projectors.runtime.failure_messages import acted_message, activated_message
from shared.contracts.validation_errors import describe
from shared.messages.control import Acted, Activate, AdoptEpoch, Drop, Rebuild, Request, Rollback
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.messaging.reply_to import reply_queue
from shared.runtime.failpoints import Failpoint, reached
from shared.views.generations import (
    ACCEPTED,
    REJECTED,
    Generation,
    GenerationAnswer,
    GenerationRefused,
    GenerationsChanged,
    GenerationState,
)

log: Final = logging.getLogger(__name__)

GenerationRequest = Rebuild | Activate | Rollback | AdoptEpoch | Drop
MODELS: Final[dict[str, type[Request[Any]]]] = {
    "rebuild": Request[Rebuild],
    "activate": Request[Activate],
    "rollback": Request[Rollback],
    "adopt-epoch": Request[AdoptEpoch],
    "drop": Request[Drop],
}


class RefusedError(Exception):
    """An order that cannot be done; nothing has changed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class GenerationRequests:
    def __init__(self, projector: str, generations: Generations) -> None:
        self._projector = projector
        self._generations = generations

    def model_of(self, routing_key: str) -> type[Request[Any]] | None:
        """None: it is another order that travels by this key."""
        projector, _, verb = routing_key.rpartition(".")
        return MODELS.get(verb) if projector == self._projector else None

    async def handle(self, delivery: Delivery, shape: type[Request[Any]]) -> list[Outgoing]:
        """The answer, where there is a place for it, and news. Raises StoreUnavailableError."""
        try:
            request = shape.model_validate_json(delivery.body)
        except ValidationError as error:
            log.error("an unreadable order was refused: %s", error)  # noqa: TRY400 - the message is the whole story
            problems = "; ".join(f"{item['field']}: {item['message']}" for item in describe(error))
            refused = GenerationRefused(request_id="", code="validation-failed", message=problems)
            return _reply(self._projector, delivery, refused)
        order: GenerationRequest = request.data
        try:
            news = await self._do(order, request.id, again=delivery.redelivered)
        except RefusedError as error:
            log.info("%s for %s: refused, %s", request.type, order.actor, error)
            refused = GenerationRefused(request_id=request.id, code=error.code, message=str(error))
            return _reply(self._projector, delivery, refused)
        await self._generations.refresh()
        log.info("%s by %s: done (%s)", request.type, order.actor, order.reason)
        changed = GenerationsChanged(
            request_id=request.id,
            projection=self._projector,
            generations=[hosted.generation for hosted in sorted(self._generations, key=lambda each: each.number)],
        )
        return [*news, self._acted(request, changed), *_reply(self._projector, delivery, changed)]

    def _acted(self, request: Request[Any], changed: GenerationsChanged) -> Outgoing:
        order: GenerationRequest = request.data
        active = next(generation.number for generation in changed.generations if generation.active)
        return acted_message(
            Acted(
                projection=self._projector,
                act=request.type.removeprefix("control."),
                generation=active if isinstance(order, Rollback) else order.generation,
                actor=order.actor,
                reason=order.reason,
                request_id=request.id,
                asked_at=request.time,
            )
        )

    async def _do(self, order: GenerationRequest, request_id: str, *, again: bool) -> list[Outgoing]:
        registry = self._generations.registry
        known = await registry.generations()
        match order:
            case Rebuild():
                _require_startable(order, known, request_id)
                await registry.begin(order.generation, kinds=self._generations.kinds, rate=order.rate, by=request_id)
            case Activate():
                chosen = _require_generation(order.generation, known)
                if chosen.state is not GenerationState.READY:
                    raise RefusedError("generation-not-ready", f"generation {chosen.number} is still being built")
                return await self._activate(chosen, request_id)
            case Rollback():
                done = next((each for each in known if each.active and each.activated_by == request_id), None)
                return await self._activate(done or _previously_active(known), request_id)
            case AdoptEpoch():
                if _require_generation(order.generation, known).moving_to is not None:
                    await registry.adopt(order.generation)
                elif not again:
                    raise RefusedError("nothing-to-adopt", f"generation {order.generation} has heard of no other epoch")
            case Drop():
                if not again or order.generation in [generation.number for generation in known]:
                    chosen = _require_generation(order.generation, known)
                    if chosen.active:
                        raise RefusedError(
                            "generation-is-active", f"generation {chosen.number} is the one that is read"
                        )
                await registry.drop(order.generation)
        return []

    async def _activate(self, chosen: Generation, request_id: str) -> list[Outgoing]:
        if chosen.moving_to is not None:
            raise RefusedError(
                "generation-not-ready", f"generation {chosen.number} applies nothing: it is of another epoch"
            )
        if not chosen.active:
            reached(Failpoint.BEFORE_SWITCH)
            await self._generations.registry.activate(chosen.number, by=request_id)
            reached(Failpoint.AFTER_SWITCH)
        return [activated_message(self._projector, chosen.number)]


def _require_startable(order: Rebuild, known: Sequence[Generation], request_id: str) -> None:
    for generation in known:
        if generation.number == order.generation and generation.begun_by != request_id:
            raise RefusedError("generation-exists", f"there is a generation {generation.number} already")
        if generation.number != order.generation and generation.state is GenerationState.BUILDING:
            raise RefusedError("rebuild-under-way", f"generation {generation.number} is being built")


def _require_generation(number: int, known: Sequence[Generation]) -> Generation:
    for generation in known:
        if generation.number == number:
            return generation
    raise RefusedError("generation-not-found", f"there is no generation {number}")


def _previously_active(known: Sequence[Generation]) -> Generation:
    found = [each for each in known if not each.active and each.activated_at is not None]
    if not found:
        raise RefusedError("no-generation-before", "no other generation has been active")
    return max(found, key=lambda each: each.activated_at or each.begun_at)


def _reply(projector: str, delivery: Delivery, data: GenerationsChanged | GenerationRefused) -> list[Outgoing]:
    queue = reply_queue(delivery.reply_to)
    if queue is None:
        return []
    kind = ACCEPTED if isinstance(data, GenerationsChanged) else REJECTED
    answer = GenerationAnswer(
        id=f"answer/{uuid4()}",
        source=f"tidemark/projectors/{projector}",
        type=kind,
        time=datetime.now(UTC),
        data=data,
    )
    return [
        Outgoing(
            "",
            queue,
            answer.model_dump_json().encode(),
            CONTENT_TYPE,
            type=kind,
            correlation_id=delivery.correlation_id,
            mandatory=False,
        )
    ]
