"""Commands that come with a mark in a header: dead ones, which the dead-letter worker sends again, and scheduled ones. Pure.

    discarded        an operator has discarded it: it is refused
    superseded       an operator has sent another command instead: it is refused
    delivery-limit   the broker has dead-lettered it: it is not tried, and has no outcome yet
    due              it was scheduled, and its time has come: its ``notbefore`` does not matter any more
    cancelled        it was scheduled, and has been cancelled before its time: it is refused

A command that already has an outcome keeps it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from command_service.handling.parsing import MAX_SHOWN, Command, Held, Invalid, Message
from shared.contracts.validation_errors import printable
from shared.messaging import topology

_REFUSED: Final = {
    topology.DISCARDED: Invalid("discarded", "the service failed on this command, and an operator has discarded it"),
    topology.SUPERSEDED: Invalid(
        "superseded", "the service failed on this command, and an operator has sent another one instead of it"
    ),
}


def apply_mark(message: Message, headers: Mapping[str, Any]) -> Message:
    """The message with its commands marked as its header says; other parts are omitted, as they are dead letters already."""
    scheduled = headers.get(topology.SCHEDULED_HEADER)
    if scheduled == topology.DUE:
        return _with(message, lambda part: replace(part, envelope=part.envelope.model_copy(update={"notbefore": None})))
    if scheduled == topology.CANCELLED:
        cancelled = _cancelled(headers)
        return _with(message, lambda part: replace(part, task=cancelled))
    mark = headers.get(topology.DEAD_COMMAND_HEADER)
    task: Invalid | Held
    if not isinstance(mark, str):
        return message
    if mark in _REFUSED:
        task = _REFUSED[mark]
    elif mark == topology.DELIVERY_LIMITED:
        task = Held(mark)
    else:
        return message
    return _with(message, lambda part: replace(part, task=task))


def _with(message: Message, marked: Callable[[Command], Command]) -> Message:
    return replace(message, parts=tuple(marked(part) for part in message.parts if isinstance(part, Command)))


def _cancelled(headers: Mapping[str, Any]) -> Invalid:
    actor, reason = (
        printable(str(headers.get(name, "")), MAX_SHOWN) for name in (topology.ACTOR_HEADER, topology.REASON_HEADER)
    )
    return Invalid("cancelled", f"cancelled before its time by {actor}: {reason}")
