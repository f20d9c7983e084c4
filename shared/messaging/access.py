"""What each user of the broker does: one line for each deployable, beside the topology. What is not said here is refused by the broker.

    ACCESS ──permissions.py──▶ configure, write, read, and topic permissions ──deploy──▶ RabbitMQ

Names and keys are patterns like those of a topic exchange's bindings: ``*`` is one word, ``#`` any number of words, and ``%`` a number.

A deployable's user is ``tidemark_<name>``; the administrator, ``tidemark``, declares the topology and acts for operators. Other services
have users of their own names (``sender``): they publish commands of some types, and receive the outcomes of these.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shared import processes, read_models
from shared.contracts.privacy import ERASE_SUBJECT
from shared.messaging import topology
from shared.messaging.topology import CHANGES, COMMANDS, CONTROL, DEAD, EVENTS, OUTCOMES, REPLIES

PREFIX: Final = "tidemark_"
ADMINISTRATOR: Final = "tidemark"
DEFAULT_EXCHANGE: Final = "amq.default"
"""The name under which RabbitMQ checks the permission to write to the default exchange, that is, to every queue."""
BROKER_NAMED: Final = "amq.gen-#"
"""Queues that the broker has named: exclusive ones, which it deletes with their connection."""
ANY: Final = "#"
"""Also where messages decide the keys, as a command's type does: a key that is not permitted closes the publisher's channel."""
LANE: Final = "%"
NO_KEYS: Final[tuple[str, ...]] = ()


def user_of(deployable: str) -> str:
    """The name of the deployable's user; also the AMQP property ``user_id`` of its commands."""
    return PREFIX + deployable


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one user does. Each field but ``publishes`` and ``listens`` is a tuple of queue names.

    ``publishes``, ``listens``: exchange → routing keys that it publishes, or binds a queue of its own to.
    """

    publishes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    consumes: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()
    """Declares them passively, to see that they exist."""
    owns: tuple[str, ...] = ()
    """Declares, binds, consumes from and deletes them."""
    listens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    """The only ``source`` of its commands, and what begins with it and a slash; empty: it may send for anybody."""


def _subscriber(name: str, process: str) -> Access:
    """A projector or process manager: reads its lanes and what operators ask for, and holds what fails."""
    tiers = [tier for tier, _ in topology.RETRY_TIERS]
    return Access(
        consumes=(topology.lane_queue(name, LANE), topology.control_queue(name)),
        publishes={
            CONTROL: (topology.RESEND_KEY, topology.HEADS_KEY, topology.COMPARE_KEY),
            CHANGES: (topology.passed_key(name), topology.acted_key(name), *_of_process(process)),
            DEAD: (name,),
            REPLIES: (ANY,),
            **{topology.retry_exchange(tier): (topology.private_lane_key(name, LANE),) for tier in tiers},
        },
        watches=(*(topology.retry_queue(name, t) for t in tiers), topology.dead_queue(name), topology.RESEND_QUEUE),
    )


def _of_process(process: str) -> tuple[str, ...]:
    """What a process says of itself: that it has started, and its state."""
    return topology.report_key(process, "started"), topology.process_key(process)


def _projector(name: str) -> Access:
    history = Access(
        consumes=(topology.history_queue(name),),
        publishes={CONTROL: (topology.HISTORY_KEY,), CHANGES: (topology.advanced_key(name),)},
        watches=(topology.HISTORY_QUEUE,),
    )
    return _together([_subscriber(name, name), history])


def _processes() -> Access:
    own = Access(
        consumes=(topology.PROCESS_REPLIES_QUEUE, topology.PROCESS_REQUESTS_QUEUE),
        publishes={COMMANDS: (ANY,)},
        watches=(topology.COMMAND_QUEUE,),
    )
    return _together([own, *(_subscriber(name, "processes") for name in processes.NAMES)])


def _together(parts: Iterable[Access]) -> Access:
    parts = list(parts)
    return Access(
        publishes=_merged(part.publishes for part in parts),
        consumes=tuple(dict.fromkeys(name for part in parts for name in part.consumes)),
        watches=tuple(dict.fromkeys(name for part in parts for name in part.watches)),
        owns=tuple(dict.fromkeys(name for part in parts for name in part.owns)),
        listens=_merged(part.listens for part in parts),
    )


def _merged(mappings: Iterable[Mapping[str, tuple[str, ...]]]) -> Mapping[str, tuple[str, ...]]:
    merged: dict[str, tuple[str, ...]] = {}
    for mapping in mappings:
        for exchange, keys in mapping.items():
            merged[exchange] = tuple(dict.fromkeys((*merged.get(exchange, ()), *keys)))
    return merged


ACCESS: Final[Mapping[str, Access]] = {
    "worker": Access(
        consumes=(topology.COMMAND_QUEUE,),
        publishes={
            OUTCOMES: (ANY,),
            DEAD: (COMMANDS,),
            CHANGES: (*_of_process("worker"), topology.report_key("worker", "denied")),
            DEFAULT_EXCHANGE: NO_KEYS,
        },
        watches=(topology.dead_queue(COMMANDS),),
    ),
    "relay": Access(
        consumes=(topology.RESEND_QUEUE, topology.HISTORY_QUEUE),
        publishes={
            EVENTS: (
                topology.lane_key(LANE),
                *(topology.private_lane_key(name, LANE) for name in topology.SUBSCRIBERS),
                *map(topology.history_queue, topology.PROJECTORS),
            ),
            CONTROL: tuple(map(topology.compared_key, topology.SUBSCRIBERS)),
            COMMANDS: (ANY,),
            CHANGES: (*_of_process("relay"), topology.acted_key(COMMANDS)),
        },
        watches=(*map(topology.control_queue, topology.SUBSCRIBERS), topology.COMMAND_QUEUE),
    ),
    "http": Access(
        publishes={
            COMMANDS: (ANY,),
            CHANGES: (
                topology.report_key("command_service", "denied"),
                topology.acted_key(COMMANDS),
                topology.report_key("http", "started"),
            ),
        },
        owns=(BROKER_NAMED,),
        listens={CHANGES: (topology.process_key("worker"),)},
        watches=(topology.COMMAND_QUEUE,),
    ),
    **{name: _projector(name) for name in read_models.NAMES},
    "processes": _processes(),
    "dead_letters": Access(
        consumes=(
            *map(topology.dead_queue, (*topology.SUBSCRIBERS, COMMANDS)),
            topology.PASSED_QUEUE,
            topology.OPERATIONS_QUEUE,
        ),
        publishes={
            COMMANDS: (ANY,),
            CONTROL: (
                topology.RESEND_KEY,
                *(key(name) for name in topology.SUBSCRIBERS for key in (topology.inquire_key, topology.discard_key)),
            ),
            CHANGES: _of_process("dead_letters"),
            REPLIES: (ANY,),
        },
        watches=(*map(topology.control_queue, topology.SUBSCRIBERS), topology.RESEND_QUEUE, topology.COMMAND_QUEUE),
    ),
    "query": Access(
        publishes={
            CONTROL: (
                *topology.OPERATIONS_KEYS,
                topology.PROCESS_ACT_KEY,
                *(
                    topology.rebuild_key(name, verb)
                    for name in topology.PROJECTORS
                    for verb in topology.GENERATION_VERBS
                ),
            ),
            CHANGES: (topology.report_key("query_service", "denied"), topology.report_key("query", "started")),
        },
        owns=(BROKER_NAMED,),
        listens={
            CHANGES: (*map(topology.advanced_key, topology.PROJECTORS), topology.process_key("*")),
            REPLIES: (BROKER_NAMED,),
        },
    ),
    "payment_provider": Access(
        publishes={COMMANDS: ("payments.capture-payment", "payments.fail-payment")},
        owns=("payment-provider",),
        listens={EVENTS: (topology.lane_key("*"),)},
        source="payment-provider",
    ),
}
"""Deployable → what it does. ``payment_provider`` stands in for a service of others, in demos and tests."""


TRUSTED: Final = frozenset(
    {ADMINISTRATOR, *(user_of(n) for n, each in ACCESS.items() if ANY in each.publishes.get(COMMANDS, ()))}
)
"""Users that may send every command, for anybody: what they send has been checked before, or is our own."""


def moving_queue(queue: str) -> str:
    """Where the messages of a queue are while it is made anew."""
    return f"{queue}.moving"


def moving_exchange(queue: str) -> str:
    """Through which ``tidemark migrate`` moves the messages of a queue."""
    return f"{queue}.moved"


COMMAND_EXCHANGES: Final = (
    COMMANDS,
    *map(moving_exchange, (topology.COMMAND_QUEUE, moving_queue(topology.COMMAND_QUEUE))),
)
"""The exchanges through which commands come to their queue."""


REPUBLISHERS: Final = TRUSTED | {user_of("worker")}
"""Users whose messages may name, in SENDER_HEADER, the user that has sent the command."""


def sent_by(user: str, headers: Mapping[str, Any], own_user: str = "") -> str:
    """The user that has sent a command which ``user`` has published: itself, or, on a copy of ours, the one that is named in a header.

    ``own_user``: one more that may name it. Empty: the message does not say.
    """
    named = headers.get(topology.SENDER_HEADER) if user in REPUBLISHERS or (user and user == own_user) else None
    return named if isinstance(named, str) else user


def sender(name: str, may: Iterable[str]) -> Access:
    """A service that sends commands of the types ``may`` (``orders.*``: all of a context), and receives their outcomes."""
    types = tuple(ANY if pattern == "*" else pattern.replace(".*", ".#") for pattern in may)
    return Access(
        publishes={COMMANDS: types},
        owns=(BROKER_NAMED, f"reply.{name}.#"),
        listens={OUTCOMES: tuple(f"rejected.{each}" for each in types)},
        source=name,
    )


def may_send(may: Iterable[str], command_type: str) -> bool:
    """Whether one of the types ``may`` is this one, or stands for it. The broker sees routing keys only; the worker checks each command.

    No wildcard stands for the erasure of a person: who may ask for it is named for that, as over HTTP.
    """
    if command_type == ERASE_SUBJECT:
        return command_type in may
    return any(
        pattern in ("*", command_type) or (pattern.endswith(".*") and command_type.startswith(pattern[:-1]))
        for pattern in may
    )
