"""What has become of a dead command, as the dead-letter worker says: it sends the command once more, marked, to the normal queue. Pure.

    discarded        an operator has given it up: it is refused, for good
    superseded       an operator has sent another one instead: it is refused, for good
    delivery-limit   the broker has given it up: it is not tried, and has no outcome yet

A command that has its outcome keeps it.
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


def as_marked(message: Message, headers: Mapping[str, Any]) -> Message:
    """The message, with its commands to be treated as its headers say; what is no command is left out, being a dead letter already."""
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
