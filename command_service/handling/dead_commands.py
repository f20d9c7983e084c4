"""The status of a dead command: the dead-letter worker sends the command again to the normal queue, with a mark in a header. Pure.

    discarded        an operator has discarded it: it is refused
    superseded       an operator has sent another command instead: it is refused
    delivery-limit   the broker has dead-lettered it: it is not tried, and has no outcome yet

A command that already has an outcome keeps it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from command_service.handling.parsing import Command, Held, Invalid, Message
from shared.messaging import topology

_REFUSED: Final = {
    topology.DISCARDED: Invalid("discarded", "the service failed on this command, and an operator has discarded it"),
    topology.SUPERSEDED: Invalid(
        "superseded", "the service failed on this command, and an operator has sent another one instead of it"
    ),
}


def apply_mark(message: Message, headers: Mapping[str, Any]) -> Message:
    """The message with its commands marked as its header says; other parts are omitted, as they are dead letters already."""
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
    return replace(
        message,
        parts=tuple(replace(part, task=task) for part in message.parts if isinstance(part, Command)),
    )
