"""Handles operators' requests about the generations of a projection. Each gets a reply, and is idempotent. What was done is published for
the audit log, without waiting for it to be stored.

rebuild      begins a generation and builds it from history beside the others; one at a time
activate     makes a ready generation the one that is read, atomically; announced on the exchange ``changes``
rollback     the same, for the generation that was active before
adopt-epoch  makes the generation go on in the new epoch; events that a restore has lost stay in it
drop         deletes a generation that is not active, with its data
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
from shared.messaging import topology
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
    """A request that cannot be fulfilled; nothing has changed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class GenerationRequests:
    def __init__(self, projector: str, generations: Generations) -> None:
        self._projector = projector
        self._generations = generations

    def model_of(self, routing_key: str) -> type[Request[Any]] | None:
        """None: the routing key is that of another request."""
        projector, _, verb = routing_key.rpartition(".")
        return MODELS.get(verb) if projector == self._projector else None

    async def handle(self, delivery: Delivery, model: type[Request[Any]]) -> list[Outgoing]:
        """Handle a request; returns the announcements, and the reply if it names a reply queue. Raises StoreUnavailableError."""
        try:
            request = model.model_validate_json(delivery.body)
        except ValidationError as error:
            log.error("an unreadable control request was refused: %s", error)  # noqa: TRY400 - the message is the whole story
            problems = "; ".join(f"{item['field']}: {item['message']}" for item in describe(error))
            refused = GenerationRefused(request_id="", code="validation-failed", message=problems)
            return _reply(self._projector, delivery, refused)
        data: GenerationRequest = request.data
        try:
            messages = await self._execute(data, request.id, again=delivery.redelivered)
        except RefusedError as error:
            log.info("%s for %s: refused, %s", request.type, data.actor, error)
            refused = GenerationRefused(request_id=request.id, code=error.code, message=str(error))
            return _reply(self._projector, delivery, refused)
        await self._generations.refresh()
        log.info("%s by %s: done (%s)", request.type, data.actor, data.reason)
        changed = GenerationsChanged(
            request_id=request.id,
            projection=self._projector,
            generations=[hosted.generation for hosted in sorted(self._generations, key=lambda each: each.number)],
        )
        return [*messages, self._acted(request, changed), *_reply(self._projector, delivery, changed)]

    def _acted(self, request: Request[Any], changed: GenerationsChanged) -> Outgoing:
        data: GenerationRequest = request.data
        active = next(generation.number for generation in changed.generations if generation.active)
        return acted_message(
            Acted(
                projection=self._projector,
                act=request.type.removeprefix("control."),
                generation=active if isinstance(data, Rollback) else data.generation,
                actor=data.actor,
                reason=data.reason,
                request_id=request.id,
                asked_at=request.time,
            )
        )

    async def _execute(self, data: GenerationRequest, request_id: str, *, again: bool) -> list[Outgoing]:
        registry = self._generations.registry
        known = await registry.generations()
        match data:
            case Rebuild():
                _require_startable(data, known, request_id)
                await registry.begin(data.generation, kinds=self._generations.kinds, rate=data.rate, by=request_id)
            case Activate():
                chosen = _require_generation(data.generation, known)
                if chosen.state is not GenerationState.READY:
                    raise RefusedError("generation-not-ready", f"generation {chosen.number} is still being built")
                return await self._activate(chosen, request_id)
            case Rollback():
                done = next((each for each in known if each.active and each.activated_by == request_id), None)
                return await self._activate(done or _previously_active(known), request_id)
            case AdoptEpoch():
                if _require_generation(data.generation, known).moving_to is not None:
                    await registry.adopt(data.generation)
                elif not again:
                    raise RefusedError("nothing-to-adopt", f"generation {data.generation} has recorded no other epoch")
            case Drop():
                if not again or data.generation in [generation.number for generation in known]:
                    chosen = _require_generation(data.generation, known)
                    if chosen.active:
                        raise RefusedError(
                            "generation-is-active", f"generation {chosen.number} is the one that is read"
                        )
                await registry.drop(data.generation)
        return []

    async def _activate(self, chosen: Generation, request_id: str) -> list[Outgoing]:
        if chosen.moving_to is not None:
            raise RefusedError(
                "generation-not-ready",
                f"generation {chosen.number} applies nothing: its epoch is not the write database's",
            )
        if not chosen.active:
            reached(Failpoint.BEFORE_SWITCH)
            await self._generations.registry.activate(chosen.number, by=request_id)
            reached(Failpoint.AFTER_SWITCH)
        return [activated_message(self._projector, chosen.number)]


def _require_startable(data: Rebuild, known: Sequence[Generation], request_id: str) -> None:
    for generation in known:
        if generation.number == data.generation and generation.begun_by != request_id:
            raise RefusedError("generation-exists", f"there is a generation {generation.number} already")
        if generation.number != data.generation and generation.state is GenerationState.BUILDING:
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
            topology.REPLIES,
            queue,
            answer.model_dump_json().encode(),
            CONTENT_TYPE,
            type=kind,
            correlation_id=delivery.correlation_id,
            mandatory=False,
        )
    ]
