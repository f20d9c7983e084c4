"""Every exchange, queue, binding and TTL of Tidemark: their names are defined here and nowhere else.

    commands ──#──▶ commands (queue) ──limit──▶ dead ──commands──▶ commands.dead
    events ──lane.<n>, <projector>.lane.<n>──▶ <projector>.<n> ──limit──▶ dead ──<projector>──▶ <projector>.dead
    retry.<tier> ──<projector>.#──▶ <projector>.retry.<tier> ──TTL──▶ events (same routing key: back to the lane)
    control ──resend, heads──▶ control.resend                   the command service resends events, or reports stream heads,
    control ──compare-versions──▶ control.resend                or those at the start of its epoch
    control ──replay, discard, edit, steer──▶ control.operations   the dead-letter worker executes operators' requests
    control ──history──▶ control.history                       the command service sends a page of history to one projection
    control ──process-act──▶ control.processes                  the process managers execute an operator's request
    (reply_to) ──▶ replies.processes                            outcomes of the commands of process managers
    replies ──amq.gen-…──▶ a requester's own queue              replies to requests on control
    control ──<projector>.#──▶ control.<projector>              a projector skips an event, reports its progress, rebuilds itself
    events ──<projector>.history──▶ <projector>.history        history, for a generation that is being built
    changes ──*.passed──▶ dead_letters.passed                   a projection has advanced past an event that held its stream,
    changes ──*.acted──▶ dead_letters.passed                    or has executed an operator's request about its generations
    changes ──*.denied──▶ dead_letters.passed                   a service has refused what an identity asked for; or (*.started)
                                                                a process has started, and with which version

All queues are quorum queues; those that dead-letter do so at-least-once, which RabbitMQ supports only together with
``overflow: reject-publish``. The services declare nothing: ``tidemark migrate`` does, from ``declarations``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final
from zlib import crc32

from shared import processes, read_models

COMMANDS: Final = "commands"
OUTCOMES: Final = "outcomes"
EVENTS: Final = "events"
CHANGES: Final = "changes"
CONTROL: Final = "control"
DEAD: Final = "dead"
REPLIES: Final = "replies"
"""Replies to requests on ``control``; routing key: the name of the requester's queue, which binds itself. Not the default exchange: a user
who may publish there may put a message into any queue. Only the worker may, because its senders' reply queues are bound to nothing."""
EXCHANGES: Final = (COMMANDS, OUTCOMES, EVENTS, CHANGES, CONTROL, DEAD, REPLIES)

PROJECTORS: Final = read_models.NAMES
SUBSCRIBERS: Final = (*PROJECTORS, *processes.NAMES)
"""All that read events, each from queues of its own: the read models and the process managers."""

COMMAND_QUEUE: Final = "commands"
RESEND_QUEUE: Final = "control.resend"
RESEND_KEY: Final = "resend"
HEADS_KEY: Final = "heads"
COMPARE_KEY: Final = "compare-versions"
HISTORY_QUEUE: Final = "control.history"
HISTORY_KEY: Final = "history"
OPERATIONS_QUEUE: Final = "control.operations"
OPERATIONS_KEYS: Final = (
    *("replay", "discard", "edit", "steer", "annotate", "forbid-acts", "check", "cancel-check", "alerts"),
)
GENERATION_VERBS: Final = ("rebuild", "activate", "rollback", "adopt-epoch", "drop")
"""What operators ask of a projection about its generations."""
PASSED_QUEUE: Final = "dead_letters.passed"
PASSED_KEYS: Final = ("*.passed", "*.acted", "*.denied", "*.started")
PROCESS_REPLIES_QUEUE: Final = "replies.processes"
PROCESS_REQUESTS_QUEUE: Final = "control.processes"
PROCESS_ACT_KEY: Final = "process-act"

EPOCH_HEADER: Final = "tidemark-epoch"
SEQUENCE_HEADER: Final = "tidemark-sequence"
"""On every message of the relay: the run of the relay that numbered it, and its number in its lane, 1, 2, 3 … without gaps. A run begins
with the epoch of the write database; on resent messages it is the epoch and a full stop alone."""

KINDS_HEADER: Final = "tidemark-kinds"
"""On messages with events: the kinds of stream in it, separated by commas. A projector that reads none of them does not parse the body."""

AUTOMATIC_HEADER: Final = "tidemark-automatic"
"""True on copies from the retry tiers, on resends that a projection requested by itself, and on its requests for these: no operator was
involved. A dead event that arrives so is not retried once its letter is published."""

DEAD_COMMAND_HEADER: Final = "tidemark-dead-command"
DISCARDED: Final = "discarded"
SUPERSEDED: Final = "superseded"
DELIVERY_LIMITED: Final = "delivery-limit"
"""Values of DEAD_COMMAND_HEADER on a command that the dead-letter worker sends again: its status. It is not to be tried."""

SENDER_HEADER: Final = "tidemark-sender"
"""On commands that the dead-letter worker or the administrator publishes again, and on dead letters of the worker: the user that has sent
the original. It counts only from these."""

SCHEDULED_HEADER: Final = "tidemark-scheduled"
DUE: Final = "due"
CANCELLED: Final = "cancelled"
"""Values of SCHEDULED_HEADER on a scheduled command that is put into the queue: its time has come, whatever its ``notbefore``; or it is
to be refused."""
ACTOR_HEADER: Final = "tidemark-actor"
REASON_HEADER: Final = "tidemark-reason"
"""Who has cancelled it, and why."""

GENERATION_HEADER: Final = "tidemark-generation"
PAGE_HEADER: Final = "tidemark-page"
EVENTS_HEADER: Final = "tidemark-events"
"""On messages with history events: the generation, the id of the request that they answer, and the number of events."""

RETRY_TIERS: Final[tuple[tuple[str, int], ...]] = (("1s", 1_000), ("5s", 5_000), ("25s", 25_000))
"""Name and delay in milliseconds of each tier, in the order in which a failing event passes through them."""

MAX_TYPE_BYTES: Final = 200
MAX_LANES: Final = 256
DELIVERY_LIMIT: Final = 20
MAX_EVENTS_PER_MESSAGE: Final = 100
MAX_BYTES_PER_MESSAGE: Final = 256 * 1024
COMMAND_DELIVERY_LIMIT: Final = 1000
"""Workers reject a command that kills them after two deaths per message held, at most 400 (``command_service.handling.isolation``)."""


def lane_of(stream: str, lanes: int) -> int:
    """The lane of a stream: CRC-32 of its UTF-8 name modulo the number of lanes; identical in every process and language."""
    return hash_of(stream) % lanes


def hash_of(stream: str) -> int:
    return crc32(stream.encode())


def rejected_key(command_type: str) -> str:
    """``rejected.unknown`` for a type that does not fit into a routing key, which has at most 255 bytes."""
    fits = 0 < len(command_type.encode()) <= MAX_TYPE_BYTES
    return f"rejected.{command_type if fits else 'unknown'}"


def lane_key(lane: int | str) -> str:
    """Routing key of a lane's events, for every projector; with a placeholder, the pattern of such keys."""
    return f"lane.{lane}"


def private_lane_key(projector: str, lane: int | str) -> str:
    """Routing key of a lane's events for one projector only: resends and retries."""
    return f"{projector}.lane.{lane}"


def lane_queue(projector: str, lane: int | str) -> str:
    return f"{projector}.{lane}"


def discard_key(projector: str) -> str:
    """Routing key of a request to a projection to skip an event."""
    return f"{projector}.discard"


def inquire_key(projector: str) -> str:
    """Routing key of a request to a projection to report its progress."""
    return f"{projector}.inquire"


def rebuild_key(projector: str, verb: str) -> str:
    """Routing key of a request about a projection's generations: rebuild, activate, rollback, drop."""
    return f"{projector}.{verb}"


def history_queue(projector: str) -> str:
    """The queue with history for a generation that is being built; also its routing key on ``events``."""
    return f"{projector}.history"


def control_queue(projector: str) -> str:
    """The queue of requests to one projection, consumed by any of its processes."""
    return f"control.{projector}"


def compared_key(projector: str) -> str:
    """Routing key of the reply to a projection's request to compare its versions."""
    return f"{projector}.compared"


def kinds_of(header: object) -> frozenset[str]:
    """The kinds of stream in KINDS_HEADER; empty: the header is missing, so that they are not known."""
    return _kinds_in(header) if isinstance(header, str) else frozenset()


@lru_cache(maxsize=1024)
def _kinds_in(header: str) -> frozenset[str]:
    return frozenset(filter(None, header.split(",")))


def run_of(epoch: str, leader: str = "") -> str:
    """The value of EPOCH_HEADER for a relay that leads in this epoch, or for resends in it."""
    return f"{epoch}.{leader}"


def epoch_of(header: object) -> str | None:
    """The epoch of the write database in EPOCH_HEADER; None: the header is missing or has none."""
    epoch, dot, _ = header.partition(".") if isinstance(header, str) else ("", "", "")
    return epoch if epoch and dot else None


def advanced_key(projection: str) -> str:
    """Routing key of the message that a projection has advanced some streams."""
    return projection


def passed_key(projector: str) -> str:
    """Routing key of the message that a projection has advanced past an event that held its stream."""
    return f"{projector}.passed"


def acted_key(projector: str) -> str:
    """Routing key of the message that a projection has executed an operator's request about its generations."""
    return f"{projector}.acted"


def report_key(process: str, what: str) -> str:
    """Routing key of a process's report: that it has ``denied`` what an identity asked for, that it has ``started``."""
    return f"{process}.{what}"


def process_key(process: str) -> str:
    """Routing key of a process's announcements."""
    return f"process.{process}"


def retry_exchange(tier: str) -> str:
    return f"retry.{tier}"


def retry_queue(projector: str, tier: str) -> str:
    return f"{projector}.retry.{tier}"


def dead_queue(origin: str) -> str:
    """The queue of the dead letters of a projector, or of ``commands``."""
    return f"{origin}.dead"


@dataclass(frozen=True)
class Queue:
    name: str
    arguments: dict[str, Any]
    bindings: tuple[tuple[str, str], ...]
    """(exchange, routing key)"""


@dataclass(frozen=True)
class Topology:
    exchanges: tuple[str, ...] = field(default=EXCHANGES)
    queues: tuple[Queue, ...] = ()


def declarations(lanes: int) -> Topology:
    """The whole topology for this number of lanes. All exchanges are durable topic exchanges."""
    tiers = tuple(retry_exchange(tier) for tier, _ in RETRY_TIERS)
    return Topology(exchanges=EXCHANGES + tiers, queues=tuple(_queues(lanes)))


@cache
def _by_name() -> Mapping[str, Queue]:
    return {queue.name: queue for queue in _queues(MAX_LANES)}


def queue_named(name: str) -> Queue | None:
    """The declaration of the queue with that name; None: it is not one of Tidemark's."""
    return _by_name().get(name)


@lru_cache(maxsize=1024)
def destination(exchange: str, routing_key: str) -> str:
    """The destination of a message, in words: the queues of Tidemark that are bound for it."""
    if not exchange:
        return f"queue {routing_key}"
    queues = [
        queue.name
        for queue in _by_name().values()
        if any(bound == exchange and _matches(pattern, routing_key) for bound, pattern in queue.bindings)
    ]
    where = f"exchange {exchange}, key {routing_key}"
    return f"{' and '.join(queues)} ({where})" if queues else where


def _matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic exchange matches: ``*`` is one word, ``#`` at the end any number of words."""
    head, rest, _ = pattern.partition("#")
    words, given = head.rstrip(".").split(".") if head else [], routing_key.split(".")
    if len(given) < len(words) or (not rest and len(given) != len(words)):
        return False
    return all(word in ("*", actual) for word, actual in zip(words, given, strict=False))


def _queues(lanes: int) -> Iterator[Queue]:
    yield Queue(
        COMMAND_QUEUE,
        _dead_lettering(DEAD, "commands") | _delivery_limit(COMMAND_DELIVERY_LIMIT) | _single_active(),
        ((COMMANDS, "#"),),
    )
    yield Queue(dead_queue("commands"), _quorum() | _single_active(), ((DEAD, "commands"),))
    yield Queue(
        RESEND_QUEUE,
        _quorum() | _single_active(),
        ((CONTROL, RESEND_KEY), (CONTROL, HEADS_KEY), (CONTROL, COMPARE_KEY)),
    )
    yield Queue(HISTORY_QUEUE, _quorum() | _single_active(), ((CONTROL, HISTORY_KEY),))
    yield Queue(OPERATIONS_QUEUE, _quorum() | _single_active(), tuple((CONTROL, key) for key in OPERATIONS_KEYS))
    yield Queue(PASSED_QUEUE, _quorum() | _single_active(), tuple((CHANGES, key) for key in PASSED_KEYS))
    yield Queue(PROCESS_REPLIES_QUEUE, _quorum() | _single_active(), ())
    yield Queue(PROCESS_REQUESTS_QUEUE, _quorum() | _single_active(), ((CONTROL, PROCESS_ACT_KEY),))
    for projector in SUBSCRIBERS:
        yield from subscriber_queues(projector, lanes)


def subscriber_queues(projector: str, lanes: int) -> Iterator[Queue]:
    """The queues of one read model or process manager. No history is sent to a process manager, which has one generation."""
    yield Queue(control_queue(projector), _quorum() | _single_active(), ((CONTROL, f"{projector}.#"),))
    for lane in range(lanes):
        yield Queue(
            lane_queue(projector, lane),
            _dead_lettering(DEAD, projector) | _delivery_limit() | _single_active(),
            ((EVENTS, lane_key(lane)), (EVENTS, private_lane_key(projector, lane))),
        )
    if projector in PROJECTORS:
        yield Queue(
            history_queue(projector),
            _dead_lettering(DEAD, projector) | _delivery_limit() | _single_active(),
            ((EVENTS, history_queue(projector)),),
        )
    for tier, delay in RETRY_TIERS:
        yield Queue(
            retry_queue(projector, tier),
            _dead_lettering(EVENTS, None) | {"x-message-ttl": delay},
            ((retry_exchange(tier), f"{projector}.#"),),
        )
    yield Queue(dead_queue(projector), _quorum() | _single_active(), ((DEAD, projector),))


def _quorum() -> dict[str, Any]:
    return {"x-queue-type": "quorum"}


def _dead_lettering(exchange: str, key: str | None) -> dict[str, Any]:
    arguments = _quorum() | {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return arguments if key is None else arguments | {"x-dead-letter-routing-key": key}


def _single_active() -> dict[str, Any]:
    """One of several consumers is active, so that messages are normally processed in order."""
    return {"x-single-active-consumer": True}


def _delivery_limit(limit: int = DELIVERY_LIMIT) -> dict[str, Any]:
    """A message whose processing keeps killing the process is dead-lettered after this many redeliveries."""
    return {"x-delivery-limit": limit}
