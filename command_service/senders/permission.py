"""Whether the user that published a message may send the commands in it. Pure.

    message ──user_id, verified by the broker──▶ ours: as it is, marks included
                                           └──▶ a service: each command's type and source ──not its own──▶ refused: not-permitted
                                                └─▶ decided, with the service as ``actor``; for whom it claims to act is kept as ``behind``

The broker checks a message's routing key; a batch, or a body of another type, only we can check. Nothing is kept under a refused
command's key: a sender that may not send it must not be able to take the key from one that may. Once it is permitted, it is decided.

A scheduled command is checked again when it is due, and a dead one when it is sent again: its sender may have been revoked. The first
is refused for good, the second becomes a dead letter again, so that it can be replayed once its sender may send it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from command_service.handling.parsing import Command, Invalid, Message, Undecodable
from shared.contracts.registry import COMMANDS
from shared.contracts.validation_errors import shown
from shared.messages.envelope import CommandEnvelope
from shared.messaging import topology
from shared.messaging.access import ACCESS, COMMAND_EXCHANGES, TRUSTED, may_send, sent_by, user_of
from shared.messaging.consuming import Delivery

NOT_PERMITTED: Final = "not-permitted"
NO_USER: Final = "anonymous"
UNKNOWN_TYPE: Final = "(unknown type)"
NO_USER_ID: Final = "a command needs the AMQP property user-id, with the name of the user that publishes it"
OTHER_WAY: Final = f"a command is published to the exchange {topology.COMMANDS}"
DEAD_LETTERS: Final = user_of("dead_letters")
_BROKERS_OWN: Final = ("amq.gen-", "amq.rabbitmq.reply-to.")


class Kept(Enum):
    """What is kept of a command that is refused."""

    NOTHING = "nothing"
    OUTCOME = "outcome"
    """The refusal: the command was permitted when it was scheduled, so its key is its sender's."""
    DEAD_LETTER = "dead letter"
    """Itself: it is a dead letter that an operator has sent again, and becomes one again."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What a user may send. ``source``: of its commands, or what that begins with before a slash; None: of anybody's."""

    name: str
    may: tuple[str, ...]
    source: str | None
    """None: it may send for anybody."""

    def refusal(self, envelope: CommandEnvelope) -> str | None:
        """Why it may not send this command; None: it may."""
        if not may_send(self.may, envelope.type):
            return f"{self.name} may not send {shown(envelope.type)}: it may send {', '.join(self.may) or 'nothing'}"
        if (
            self.source is not None
            and envelope.source != self.source
            and not envelope.source.startswith(f"{self.source}/")
        ):
            return f"the source of what {self.name} sends is {self.source}, or begins with {self.source}/; this is {shown(envelope.source)}"
        return None


@dataclass(frozen=True, slots=True)
class Denial:
    """For the audit. ``action``: a known type of command, or UNKNOWN_TYPE."""

    identity: str
    action: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A message after the check: refused commands are parts that describe the refusal. ``trusted``: its marks count."""

    delivery: Delivery
    message: Message
    trusted: bool
    denials: tuple[Denial, ...] = ()


DEPLOYABLES: Final[Mapping[str, Sender]] = {
    user_of(name): Sender(user_of(name), access.publishes[topology.COMMANDS], access.source)
    for name, access in ACCESS.items()
    if topology.COMMANDS in access.publishes and user_of(name) not in TRUSTED
}
"""Deployables that send commands of some types only."""


def check(received: Delivery, message: Message, senders: Mapping[str, Sender], own_user: str) -> Checked:
    """``senders``: at least that of ``sent_by``, if it is known. ``own_user``: the worker's; where one user serves all, it is trusted.

    The delivery that it returns has the original sender as ``user_id``.
    """
    name = sent_by(received.user_id, received.headers, own_user)
    delivery = received if name == received.user_id else replace(received, user_id=name)
    trusted = received.user_id in TRUSTED or received.user_id == own_user
    if received.exchange not in COMMAND_EXCHANGES:
        return _refused(delivery, message, name, OTHER_WAY)
    if name in TRUSTED or name == own_user:
        return Checked(delivery, message, trusted)
    sender = DEPLOYABLES.get(name) or senders.get(name)
    if sender is None:
        why = f"{shown(name)} is not a service that may send commands" if name else NO_USER_ID
        return _refused(delivery, message, name, why, _kept(received, name, trusted))
    if sender.source is None:
        return Checked(delivery, message, trusted=True)
    parts: list[Command | Undecodable] = []
    denials: list[Denial] = []
    for part in message.parts:
        if not isinstance(part, Command):
            parts.append(part)
        elif refusal := sender.refusal(part.envelope):
            parts.append(_refusal(part, refusal, _kept(received, name, trusted)))
            denials.append(_denial(name, part))
        else:
            envelope = _as_sent_by(name, part.envelope)
            # Spelt out: this is done for every command, and dataclasses.replace takes three times as long.
            parts.append(Command(envelope, part.digest, part.task, part.correlation_id, part.is_unreadable))
    reply_to = _own_queue(name, delivery.reply_to)
    own = delivery if reply_to == delivery.reply_to else replace(delivery, reply_to=reply_to)
    return Checked(own, Message(tuple(parts), message.batch), trusted, tuple(denials))


def _kept(received: Delivery, name: str, trusted: bool) -> Kept:
    if trusted and received.headers.get(topology.SCHEDULED_HEADER) == topology.DUE:
        return Kept.OUTCOME
    is_replayed = received.user_id == DEAD_LETTERS and name != received.user_id
    # With a mark it is to be given up, not tried.
    return Kept.DEAD_LETTER if is_replayed and topology.DEAD_COMMAND_HEADER not in received.headers else Kept.NOTHING


def _refused(delivery: Delivery, message: Message, name: str, why: str, kept: Kept = Kept.NOTHING) -> Checked:
    """All commands refused; other parts are what they are. One who does not say who it is gets no reply at a queue that has an owner."""
    parts = tuple(_refusal(part, why, kept) if isinstance(part, Command) else part for part in message.parts)
    denials = tuple(_denial(name or NO_USER, part) for part in message.parts if isinstance(part, Command))
    own = replace(delivery, reply_to=_own_queue(name, delivery.reply_to))
    return Checked(own, replace(message, parts=parts), trusted=False, denials=denials)


def _refusal(command: Command, why: str, kept: Kept) -> Command | Undecodable:
    if kept is Kept.OUTCOME:
        return replace(command, task=Invalid(NOT_PERMITTED, why))
    envelope = command.envelope
    body = envelope.model_dump_json(exclude_none=True).encode()
    return Undecodable(body, NOT_PERMITTED, why, envelope.id, envelope.type, is_dead_letter=kept is Kept.DEAD_LETTER)


def _denial(name: str, command: Command) -> Denial:
    return Denial(name, command.envelope.type if command.envelope.type in COMMANDS else UNKNOWN_TYPE)


def _as_sent_by(name: str, envelope: CommandEnvelope) -> CommandEnvelope:
    claimed = envelope.behind or (envelope.actor if envelope.actor != name else None)
    return envelope.model_copy(update={"actor": name, "behind": claimed})


def _own_queue(name: str, reply_to: str) -> str:
    """The reply queue, if it can be the sender's own: nothing is sent to another's."""
    return reply_to if reply_to.startswith((*_BROKERS_OWN, f"reply.{name}.")) else ""
