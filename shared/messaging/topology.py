"""Every exchange, queue, binding and TTL of Tidemark: names live here and nowhere else.

    commands ──#──▶ commands (queue) ──limit──▶ dead ──commands──▶ commands.dead
    events ──lane.<n>, <projector>.lane.<n>──▶ <projector>.<n> ──limit──▶ dead ──<projector>──▶ <projector>.dead
    retry.<tier> ──<projector>.#──▶ <projector>.retry.<tier> ──TTL──▶ events (same routing key: back to the lane)
    control ──resend, heads──▶ control.resend                   the command service sends events again, or says what there is,
    control ──compare-versions──▶ control.resend                or what there was when its epoch began
    control ──replay, discard, edit, steer──▶ control.operations   the dead-letter worker does what operators ask
    control ──history──▶ control.history                       the command service sends a page of history to one projection
    control ──<projector>.#──▶ control.<projector>              a projector steps over an event, says how far it is, rebuilds itself
    events ──<projector>.history──▶ <projector>.history        history, for a generation that is being built
    changes ──*.passed──▶ dead_letters.passed                   a projection has got past an event that held its stream,
    changes ──*.acted──▶ dead_letters.passed                    or has done what an operator ordered about its generations

All queues are quorum queues; every one that dead-letters does so at-least-once, which RabbitMQ honours only together with
``overflow: reject-publish``. The services never declare anything: ``tidemark migrate`` does, from ``declarations``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final
from zlib import crc32

from shared import read_models

COMMANDS: Final = "commands"
OUTCOMES: Final = "outcomes"
EVENTS: Final = "events"
CHANGES: Final = "changes"
CONTROL: Final = "control"
DEAD: Final = "dead"
EXCHANGES: Final = (COMMANDS, OUTCOMES, EVENTS, CHANGES, CONTROL, DEAD)

PROJECTORS: Final = read_models.NAMES

COMMAND_QUEUE: Final = "commands"
RESEND_QUEUE: Final = "control.resend"
RESEND_KEY: Final = "resend"
HEADS_KEY: Final = "heads"
COMPARE_KEY: Final = "compare-versions"
HISTORY_QUEUE: Final = "control.history"
HISTORY_KEY: Final = "history"
OPERATIONS_QUEUE: Final = "control.operations"
OPERATIONS_KEYS: Final = ("replay", "discard", "edit", "steer")
PASSED_QUEUE: Final = "dead_letters.passed"

EPOCH_HEADER: Final = "tidemark-epoch"
SEQUENCE_HEADER: Final = "tidemark-sequence"
"""On every message of the relay: which relay numbered it, and its number in its lane, 1, 2, 3 … without holes. The former begins with
the epoch of the write database; what is sent again bears that, and a full stop, alone."""

AUTOMATIC_HEADER: Final = "tidemark-automatic"
"""True on copies from the retry tiers, on what a projection has asked for by itself to be sent again, and on its requests for that: no
operator has asked. A dead event that comes so is not tried again once its letter is out."""

DEAD_COMMAND_HEADER: Final = "tidemark-dead-command"
DISCARDED: Final = "discarded"
SUPERSEDED: Final = "superseded"
DELIVERY_LIMITED: Final = "delivery-limit"
"""On a command that the dead-letter worker sends once more: what has become of it. It is not to be tried."""

GENERATION_HEADER: Final = "tidemark-generation"
PAGE_HEADER: Final = "tidemark-page"
EVENTS_HEADER: Final = "tidemark-events"
"""On messages with events of history: for which generation, the id of the request that they answer, and how many events there are."""

RETRY_TIERS: Final[tuple[tuple[str, int], ...]] = (("1s", 1_000), ("5s", 5_000), ("25s", 25_000))
"""Name and delay in milliseconds of each tier, in the order a failing event goes through them."""

MAX_TYPE_BYTES: Final = 200
MOST_LANES: Final = 256
DELIVERY_LIMIT: Final = 20
MAX_EVENTS_PER_MESSAGE: Final = 100
MAX_BYTES_PER_MESSAGE: Final = 256 * 1024
COMMAND_DELIVERY_LIMIT: Final = 1000
"""Workers reject what kills them after two deaths for each of the 400 messages that one holds (``command_service.handling.isolation``)."""


def lane_of(stream: str, lanes: int) -> int:
    """The lane of a stream: CRC-32 of its UTF-8 name modulo the number of lanes; the same in every process and language."""
    return hash_of(stream) % lanes


def hash_of(stream: str) -> int:
    return crc32(stream.encode())


def rejected_key(command_type: str) -> str:
    """``rejected.unknown`` for a type that fits in no routing key, which has 255 bytes at most."""
    fits = 0 < len(command_type.encode()) <= MAX_TYPE_BYTES
    return f"rejected.{command_type if fits else 'unknown'}"


def lane_key(lane: int | str) -> str:
    """Routing key of a lane's events, for every projector; of a placeholder, the pattern of such keys."""
    return f"lane.{lane}"


def private_lane_key(projector: str, lane: int) -> str:
    """Routing key of a lane's events for one projector alone: resends and retries."""
    return f"{projector}.lane.{lane}"


def lane_queue(projector: str, lane: int) -> str:
    return f"{projector}.{lane}"


def discard_key(projector: str) -> str:
    """Routing key of an order to one projection to step over an event."""
    return f"{projector}.discard"


def inquire_key(projector: str) -> str:
    """Routing key of a question to one projection: how far are you?"""
    return f"{projector}.inquire"


def rebuild_key(projector: str, verb: str) -> str:
    """Routing key of an order about a projection's generations: rebuild, activate, rollback, drop."""
    return f"{projector}.{verb}"


def history_queue(projector: str) -> str:
    """Where history waits for a generation that is being built; also the routing key on ``events``."""
    return f"{projector}.history"


def control_queue(projector: str) -> str:
    """Where orders to one projection wait for any of its processes."""
    return f"control.{projector}"


def compared_key(projector: str) -> str:
    """Routing key of the answer to a projection that has asked for its versions to be compared."""
    return f"{projector}.compared"


def run_of(epoch: str, leader: str = "") -> str:
    """What EPOCH_HEADER says of a relay that leads in this epoch, or of what is sent again in it."""
    return f"{epoch}.{leader}"


def epoch_of(header: object) -> str | None:
    """The epoch of the write database that EPOCH_HEADER speaks of; None: the message says nothing about it."""
    epoch, dot, _ = header.partition(".") if isinstance(header, str) else ("", "", "")
    return epoch if epoch and dot else None


def advanced_key(projection: str) -> str:
    """Routing key of the news that a projection has advanced some streams."""
    return projection


def passed_key(projector: str) -> str:
    """Routing key of the news that a projection has got past an event that held its stream."""
    return f"{projector}.passed"


def acted_key(projector: str) -> str:
    """Routing key of the news that a projection has done what an operator ordered about its generations."""
    return f"{projector}.acted"


def process_key(process: str) -> str:
    """Routing key of what a process says of itself."""
    return f"process.{process}"


def retry_exchange(tier: str) -> str:
    return f"retry.{tier}"


def retry_queue(projector: str, tier: str) -> str:
    return f"{projector}.retry.{tier}"


def dead_queue(origin: str) -> str:
    """Where the dead letters of a projector, or of ``commands``, wait for an operator."""
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
    return {queue.name: queue for queue in _queues(MOST_LANES)}


def queue_named(name: str) -> Queue | None:
    """How the queue of that name is to be made; None: it is none of ours."""
    return _by_name().get(name)


@lru_cache(maxsize=1024)
def destination(exchange: str, routing_key: str) -> str:
    """Where a message goes that is published so, in words: the queues that are bound for it, as far as they are ours."""
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
    """As topic exchanges match: ``*`` is one word, ``#`` at the end any number of them."""
    head, rest, _ = pattern.partition("#")
    words, given = head.rstrip(".").split(".") if head else [], routing_key.split(".")
    if len(given) < len(words) or (not rest and len(given) != len(words)):
        return False
    return all(word in ("*", actual) for word, actual in zip(words, given, strict=False))


def _queues(lanes: int) -> Iterator[Queue]:
    yield Queue(
        COMMAND_QUEUE,
        _dead_lettering(DEAD, "commands") | _backstop(COMMAND_DELIVERY_LIMIT) | _one_at_a_time(),
        ((COMMANDS, "#"),),
    )
    yield Queue(dead_queue("commands"), _quorum() | _one_at_a_time(), ((DEAD, "commands"),))
    yield Queue(
        RESEND_QUEUE,
        _quorum() | _one_at_a_time(),
        ((CONTROL, RESEND_KEY), (CONTROL, HEADS_KEY), (CONTROL, COMPARE_KEY)),
    )
    yield Queue(HISTORY_QUEUE, _quorum() | _one_at_a_time(), ((CONTROL, HISTORY_KEY),))
    yield Queue(OPERATIONS_QUEUE, _quorum() | _one_at_a_time(), tuple((CONTROL, key) for key in OPERATIONS_KEYS))
    yield Queue(PASSED_QUEUE, _quorum() | _one_at_a_time(), ((CHANGES, "*.passed"), (CHANGES, "*.acted")))
    for projector in PROJECTORS:
        yield Queue(control_queue(projector), _quorum() | _one_at_a_time(), ((CONTROL, f"{projector}.#"),))
        for lane in range(lanes):
            yield Queue(
                lane_queue(projector, lane),
                _dead_lettering(DEAD, projector) | _backstop() | _one_at_a_time(),
                ((EVENTS, lane_key(lane)), (EVENTS, private_lane_key(projector, lane))),
            )
        yield Queue(
            history_queue(projector),
            _dead_lettering(DEAD, projector) | _backstop() | _one_at_a_time(),
            ((EVENTS, history_queue(projector)),),
        )
        for tier, delay in RETRY_TIERS:
            yield Queue(
                retry_queue(projector, tier),
                _dead_lettering(EVENTS, None) | {"x-message-ttl": delay},
                ((retry_exchange(tier), f"{projector}.#"),),
            )
        yield Queue(dead_queue(projector), _quorum() | _one_at_a_time(), ((DEAD, projector),))


def _quorum() -> dict[str, Any]:
    return {"x-queue-type": "quorum"}


def _dead_lettering(exchange: str, key: str | None) -> dict[str, Any]:
    arguments = _quorum() | {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return arguments if key is None else arguments | {"x-dead-letter-routing-key": key}


def _one_at_a_time() -> dict[str, Any]:
    """Of several consumers one is active, so that the usual case comes in order."""
    return {"x-single-active-consumer": True}


def _backstop(limit: int = DELIVERY_LIMIT) -> dict[str, Any]:
    """A message whose processing keeps killing the process is dead-lettered after this many redeliveries."""
    return {"x-delivery-limit": limit}
