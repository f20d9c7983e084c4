"""What a projector is told, or asked, over ``control.<projector>``: to step over an event, and how far it has come."""

import logging
from typing import Final

from pydantic import ValidationError

from projectors.applying import Applier
from projectors.notices import passed_notice
from projectors.projection import Store
from shared import topology
from shared.broker import Outgoing
from shared.consuming import Delivery
from shared.contracts.control import Inquire, PassedEvent, Request, StepOver

log: Final = logging.getLogger(__name__)


class Orders:
    def __init__(self, projector: str, store: Store, applier: Applier) -> None:
        self._projector = projector
        self._store = store
        self._applier = applier

    async def obey(self, delivery: Delivery) -> list[Outgoing]:
        """What is to be published in answer. Doing the same again is harmless. Raises StoreUnavailableError."""
        try:
            if delivery.routing_key == topology.discard_key(self._projector):
                order = Request[StepOver].model_validate_json(delivery.body).data
                return await self._step_over(order, again=delivery.redelivered)
            return await self._inquire(Request[Inquire].model_validate_json(delivery.body).data)
        except ValidationError as error:
            log.error("an unreadable order was dropped: %s", error)  # noqa: TRY400 - the message is the whole story
            return []

    async def _step_over(self, order: StepOver, *, again: bool) -> list[Outgoing]:
        """``again``: the order has been delivered before; then it may have been we who got the stream past the event."""
        stepped = await self._applier.step_over(order.stream, order.version)
        if stepped is not None:
            log.info("stepped over %s@%d for %s: %s", order.stream, order.version, order.actor, order.reason)
        elif (await self._store.positions([order.stream]))[order.stream].applied < order.version:
            return []
        event = PassedEvent(
            stream=order.stream, version=order.version, how="discarded" if stepped is not None or again else "applied"
        )
        return [*(stepped.outgoing if stepped is not None else ()), passed_notice(self._projector, [event])]

    async def _inquire(self, question: Inquire) -> list[Outgoing]:
        positions = await self._store.positions(sorted({event.stream for event in question.events}))
        passed = [
            PassedEvent(stream=event.stream, version=event.version, how="applied")
            for event in question.events
            if positions[event.stream].applied >= event.version
        ]
        return [passed_notice(self._projector, passed)] if passed else []
