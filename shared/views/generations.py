"""Generations of a projection: builds of one read model side by side, each in its own schema or key prefix; queries read the active one.

    rebuild request ──▶ building ──history applied, heads compared──▶ ready ──activate──▶ active ◀──rollback── the previous one
                                                                         └──drop──▶ gone

Generation 1 has the projection's own name, with which every store begins; generation n is ``<name>_<n>``. Live events are applied to
every generation, so that the previously active one can be reactivated at any time.

A generation has the kinds of stream that its projection read when it was begun, without those that the projection has stopped reading
since. Streams of a kind that the projection reads and the generation does not have are not applied to it; a rebuilt generation has them.

The registry lists them. In PostgreSQL: table ``generations`` in the schema ``<name>_registry`` (DDL in
``projectors/stores/generations.sql``), which readers have in their search_path behind the generation's schema. In Redis: the hash
``<name>-registry``, number → the JSON of ``Generation`` without ``active``, and the field ``active`` → number. A missing or empty
registry means that generation 1 is active and the only one. Only the projector writes it.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel

FIRST: Final = 1
ACTIVE_FIELD: Final = "active"
KINDS_BEFORE: Final = ("orders", "products", "customers")
"""The kinds of stream of a generation that was begun before they were recorded: all that existed then."""


class GenerationState(StrEnum):
    BUILDING = "building"
    """History is being applied, or the live events received meanwhile are not compared with it yet."""
    READY = "ready"
    """It is complete."""


class Generation(BaseModel):
    """A row of the registry. ``scanned`` of ``total`` events of history have been applied, up to ``cursor``."""

    number: int
    state: GenerationState
    active: bool
    begun_at: datetime
    updated_at: datetime
    """When history was last requested, or applied."""
    ready_at: datetime | None = None
    activated_at: datetime | None = None
    """When it last became active: of the inactive generations, a rollback goes back to the one with the latest time."""
    begun_by: str | None = None
    activated_by: str | None = None
    """The ids of the requests that began and activated it: the same request again changes nothing."""
    cursor_stream: str = ""
    cursor_version: int = 0
    scanned: int = 0
    total: int | None = None
    done: bool = False
    """All of history has been applied; the heads of the lanes are being compared."""
    reads_since: datetime | None = None
    """The write database's time when history was first read: everything committed before it is in history."""
    settled: tuple[int, ...] = ()
    """Lanes whose heads have been compared since all of history was applied."""
    rate: float | None = None
    """Maximum number of history events applied a second; None: unlimited."""
    epoch: str | None = None
    """The epoch of the write database that it represents; None: no epoch is known yet."""
    former: tuple[str, ...] = ()
    """Previous epochs, the latest first."""
    moving_to: str | None = None
    """A new epoch of the write database: no event is applied before it is known whether the write database has lost any."""
    compare_cursor: str = ""
    compared: bool = False
    """The position of the comparison, in an order of the store's own; and whether all streams are compared."""
    ahead: int = 0
    """Streams found to be ahead of the write database: with any, no event is applied until an operator decides."""
    examples: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    """The kinds of stream that it has; None: KINDS_BEFORE."""


def next_free(generations: Iterable[Generation]) -> int:
    """The number of the next generation, which no other has had."""
    return max((one.number for one in generations), default=FIRST) + 1


class Stopped(BaseModel):
    """A generation that applies no events: the write database is in another epoch than the generation."""

    waits_for: Literal["comparison", "operator"]
    """`comparison`: its streams are being compared with the write database; where none is ahead, it resumes by itself. `operator`: some
    are; a rebuild makes all equal, `adopt-epoch` keeps what the write database has lost."""
    epoch: str
    """The epoch of the write database."""
    ahead: int
    """Streams found to be ahead of the write database so far."""
    examples: tuple[str, ...]
    detail: str


def stopped(projection: str, moving_to: str | None, ahead: int, examples: Iterable[str]) -> Stopped | None:
    """Why the active generation, with this row in the registry, is stopped; None: it is not."""
    if moving_to is None:
        return None
    some = tuple(examples)
    if ahead:
        detail = (
            f"the write database is in another epoch, {moving_to}, and {ahead} streams here are ahead of it ({'; '.join(some)}):"
            f" nothing is applied any more. See tidemark verify; then tidemark projections rebuild {projection} and activate,"
            f" or tidemark projections adopt-epoch {projection}"
        )
    else:
        detail = f"the write database is in another epoch, {moving_to}: comparing what is here with what it knows"
    return Stopped(
        waits_for="operator" if ahead else "comparison", epoch=moving_to, ahead=ahead, examples=some, detail=detail
    )


class Incomplete(BaseModel):
    """A generation lacks kinds of stream that its projection reads by now."""

    kinds: tuple[str, ...]
    """The kinds that it lacks."""
    detail: str


def has(kinds: Sequence[str] | None) -> Sequence[str]:
    """The kinds of stream of a generation, given what the registry has recorded."""
    return KINDS_BEFORE if kinds is None else kinds


def incomplete(projection: str, read: Iterable[str], kinds: Sequence[str] | None) -> Incomplete | None:
    """Which of the kinds that are ``read`` the active generation lacks, given its recorded ``kinds``; None: none."""
    missing = tuple(kind for kind in read if kind not in has(kinds))
    if not missing:
        return None
    detail = (
        f"does not have {', '.join(missing)} yet: run tidemark projections rebuild {projection},"
        f" then tidemark projections activate {projection}"
    )
    return Incomplete(kinds=missing, detail=detail)


def kinds_from_now_on(kinds: Sequence[str] | None, read: Collection[str]) -> tuple[str, ...]:
    """The kinds that a generation keeps when its projection reads these: others are not applied any more, and grow old."""
    return tuple(kind for kind in has(kinds) if kind in read)


def generation_name(projection: str, number: int) -> str:
    """The schema or key prefix of a generation; ``projection``: that of the first generation."""
    return projection if number == FIRST else f"{projection}_{number}"


def registry_schema(projection: str) -> str:
    return f"{projection}_registry"


def registry_key(projection: str) -> str:
    return f"{projection}-registry"


ACTIVE: Final = "SELECT number FROM generations WHERE active"
GENERATIONS: Final = """
SELECT number, state, active, begun_at, updated_at, ready_at, activated_at, begun_by, activated_by,
    cursor_stream, cursor_version, scanned, total, done, reads_since, settled, rate, epoch,
    former, moving_to, compare_cursor, compared, ahead, examples, kinds
FROM generations ORDER BY number
"""


class GenerationRefused(BaseModel):
    """``code``: generation-exists, generation-not-found, generation-not-ready, generation-is-active, no-generation-before,
    rebuild-under-way, nothing-to-adopt, validation-failed."""

    request_id: str
    code: str
    message: str


class GenerationsChanged(BaseModel):
    """All generations after the request. They may still be empty of history: ``Generation`` has the progress."""

    request_id: str
    projection: str
    generations: list[Generation]


ACCEPTED: Final[Literal["generations.accepted"]] = "generations.accepted"
REJECTED: Final[Literal["generations.rejected"]] = "generations.rejected"


class GenerationAnswer(BaseModel):
    """The envelope of a reply: CloudEvents, structured JSON, sent to the request's ``reply_to`` with its ``correlation_id``."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["generations.accepted", "generations.rejected"]
    time: datetime
    data: GenerationsChanged | GenerationRefused
