"""Handles the control requests of a projector's queue ``control.<projector>``: step over an event, report positions, rebuild."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from pydantic import ValidationError

from projectors.generations.epoch_watch import EpochWatch
from projectors.generations.hosting import Generations
from projectors.generations.requests import GenerationRequests
from projectors.runtime.failure_messages import passed_message
from shared.messages.control import MAX_STREAMS, Inquire, PassedEvent, Request, StepOver, StreamFrom, VersionsCompared
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.read_models import is_of

log: Final = logging.getLogger(__name__)


class ControlHandler:
    def __init__(self, projector: str, generations: Generations, epochs: EpochWatch) -> None:
        self._epochs = epochs
        self._projector = projector
        self._generations = generations
        self._generation_requests = GenerationRequests(projector, generations)

    def grouped(self, deliveries: Sequence[Delivery]) -> Iterator[Sequence[Delivery]]:
        """Groups to handle together: each other request alone, then all inquiries at once, as there may be hundreds."""
        inquiries = []
        for delivery in deliveries:
            if delivery.routing_key == topology.inquire_key(self._projector):
                inquiries.append(delivery)
            else:
                yield [delivery]
        if inquiries:
            yield inquiries

    async def handle(self, group: Sequence[Delivery]) -> list[Outgoing]:
        """Handle one group; returns the messages to publish in reply. Idempotent. Raises StoreUnavailableError."""
        await self._generations.refresh()
        delivery = group[0]
        if (model := self._generation_requests.model_of(delivery.routing_key)) is not None:
            return await self._generation_requests.handle(delivery, model)
        try:
            if delivery.routing_key == topology.discard_key(self._projector):
                request = Request[StepOver].model_validate_json(delivery.body).data
                return await self._step_over(request, again=delivery.redelivered)
            if delivery.routing_key == topology.compared_key(self._projector):
                reply = Request[VersionsCompared].model_validate_json(delivery.body).data
                return await self._epochs.compared(reply)
        except ValidationError as error:
            _log_unreadable(error)
            return []
        return await self._inquire([event for inquiry in group for event in _events_in(inquiry)])

    async def _step_over(self, order: StepOver, *, again: bool) -> list[Outgoing]:
        """``again``: the request has been delivered before, so that delivery may have advanced the stream past the event."""
        if not is_of(self._generations.kinds, order.stream):
            return self._not_read([StreamFrom(stream=order.stream, version=order.version)])
        active = self._generations.active
        stepped = await active.applier.step_over(order.stream, order.version)
        if stepped is not None:
            log.info("stepped over %s@%d for %s: %s", order.stream, order.version, order.actor, order.reason)
        elif (await active.store.positions([order.stream]))[order.stream].applied < order.version:
            return []
        outgoing = list(stepped.outgoing) if stepped is not None else []
        if stepped is not None or again:
            outgoing += await self._step_over_elsewhere(order)
        event = PassedEvent(
            stream=order.stream, version=order.version, how="discarded" if stepped is not None or again else "applied"
        )
        return [*outgoing, passed_message(self._projector, [event])]

    async def _step_over_elsewhere(self, order: StepOver) -> list[Outgoing]:
        """Step over the event in the other generations: at once if they wait for it, else when it is next."""
        active, outgoing = self._generations.active, []
        stream, before = order.stream, (order.stream, order.version - 1)
        if (stream, order.version) not in await active.store.discards(before, 1):
            return []
        for hosted in self._generations.each():
            if hosted is not active:
                step = partial(hosted.applier.step_over, stream, order.version, ahead=True)
                stepped = await self._generations.run_step(hosted, step)
                outgoing += stepped.outgoing if stepped is not None else []
        return outgoing

    async def _inquire(self, inquired: Sequence[StreamFrom]) -> list[Outgoing]:
        events = [event for event in inquired if is_of(self._generations.kinds, event.stream)]
        streams = sorted({event.stream for event in events})
        positions = await self._generations.active.store.positions(streams)
        passed = [
            PassedEvent(stream=event.stream, version=event.version, how="applied")
            for event in events
            if positions[event.stream].applied >= event.version
        ]
        others = [event for event in inquired if not is_of(self._generations.kinds, event.stream)]
        return [*self._passed(passed), *self._not_read(others)]

    def _not_read(self, events: Sequence[StreamFrom]) -> list[Outgoing]:
        """Report them as passed, in separate messages: a dead-letter worker that does not know ``not-read`` then drops no other event."""
        for event in events:
            log.info("%s@%d: %s reads no streams of this kind", event.stream, event.version, self._projector)
        return self._passed(
            [PassedEvent(stream=event.stream, version=event.version, how="not-read") for event in events]
        )

    def _passed(self, events: Sequence[PassedEvent]) -> list[Outgoing]:
        parts = (events[start : start + MAX_STREAMS] for start in range(0, len(events), MAX_STREAMS))
        return [passed_message(self._projector, part) for part in parts]


def _events_in(inquiry: Delivery) -> Sequence[StreamFrom]:
    try:
        return Request[Inquire].model_validate_json(inquiry.body).data.events
    except ValidationError as error:
        _log_unreadable(error)
        return ()


def _log_unreadable(error: ValidationError) -> None:
    log.error("an unreadable control request was dropped: %s", error)
