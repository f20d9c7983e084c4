"""Generations of a projection: builds of one read model side by side, each in a schema or key prefix of its own; one of them is read.

    order to rebuild ──▶ building ──history applied, heads compared──▶ ready ──activate──▶ active ◀──rollback── the one before
                                                                         └──drop──▶ gone

Generation 1 bears the projection's own name, which is how every store begins; generation n is ``<name>_<n>``. Live events go to every
generation there is, so that the one that was active before can become so again at any time.

The registry says which there are. In PostgreSQL: table ``generations`` in the schema ``<name>_registry`` (DDL in
``projectors/stores/generations.sql``), which readers have in their search_path behind the generation's schema. In Redis: the hash
``<name>-registry``, number → the JSON of ``Generation`` without ``active``, and the field ``active`` → number. A registry that is
missing or empty means that generation 1 is active and there is no other. Only the projector writes it.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel

FIRST: Final = 1
ACTIVE_FIELD: Final = "active"


class GenerationState(StrEnum):
    BUILDING = "building"
    """History is being applied, or what came live meanwhile has not been compared with it."""
    READY = "ready"
    """It has all that the others have."""


class Generation(BaseModel):
    """A row of the registry. ``scanned`` of ``total`` events of history have been applied, up to ``cursor``."""

    number: int
    state: GenerationState
    active: bool
    begun_at: datetime
    updated_at: datetime
    """When history was last asked for, or applied."""
    ready_at: datetime | None = None
    activated_at: datetime | None = None
    """When it last became active: of those that are not, the latest is the one to go back to."""
    begun_by: str | None = None
    activated_by: str | None = None
    """The ids of the orders that did it: the same order again changes nothing."""
    cursor_stream: str = ""
    cursor_version: int = 0
    scanned: int = 0
    total: int | None = None
    done: bool = False
    """All of history has been applied; the heads of the lanes are being compared."""
    reads_since: datetime | None = None
    """The write database's clock when history was first read: what was committed before is in history."""
    settled: tuple[int, ...] = ()
    """Lanes whose heads have been compared since all of history was applied."""
    rate: float | None = None
    """Most events of history a second; None: as fast as it goes."""
    epoch: str | None = None
    """The epoch of the write database that it stands for; None: it has not heard of any."""
    former: tuple[str, ...] = ()
    """Epochs that it has left behind, the latest first."""
    moving_to: str | None = None
    """Another epoch, that it has heard of: it applies nothing before it is known whether the write database has lost something."""
    compare_cursor: str = ""
    compared: bool = False
    """Where the comparison is, in an order of the store's own; and whether all has been compared."""
    ahead: int = 0
    """Streams found to be ahead of the write database: with any, it applies nothing until an operator decides."""
    examples: tuple[str, ...] = ()


class Stopped(BaseModel):
    """A generation applies nothing: it has heard that the write database is in another epoch than its own."""

    waits_for: Literal["comparison", "operator"]
    """`comparison`: with what the write database knows; where nothing is ahead of that, it goes on by itself. `operator`: something is; a
    rebuild makes all equal, `adopt-epoch` keeps what was lost."""
    epoch: str
    """That of the write database."""
    ahead: int
    """Streams found to be ahead of it so far."""
    examples: tuple[str, ...]
    detail: str


def stopped(projection: str, moving_to: str | None, ahead: int, examples: Iterable[str]) -> Stopped | None:
    """What the active generation's row says about it; None: nothing stops it."""
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


def generation_name(projection: str, number: int) -> str:
    """The schema, or key prefix, of a generation; ``projection`` is that of the first."""
    return projection if number == FIRST else f"{projection}_{number}"


def registry_schema(projection: str) -> str:
    return f"{projection}_registry"


def registry_key(projection: str) -> str:
    return f"{projection}-registry"


ACTIVE: Final = "SELECT number FROM generations WHERE active"
GENERATIONS: Final = """
SELECT number, state, active, begun_at, updated_at, ready_at, activated_at, begun_by, activated_by,
    cursor_stream, cursor_version, scanned, total, done, reads_since, settled, rate, epoch,
    former, moving_to, compare_cursor, compared, ahead, examples
FROM generations ORDER BY number
"""


class GenerationRefused(BaseModel):
    """``code``: generation-exists, generation-not-found, generation-not-ready, generation-is-active, no-generation-before,
    rebuild-under-way, nothing-to-adopt, validation-failed."""

    request_id: str
    code: str
    message: str


class GenerationsChanged(BaseModel):
    """What an order came to: all generations as they are now. They may be empty of history still: ``Generation`` says how far."""

    request_id: str
    projection: str
    generations: list[Generation]


ACCEPTED: Final[Literal["generations.accepted"]] = "generations.accepted"
REJECTED: Final[Literal["generations.rejected"]] = "generations.rejected"


class GenerationAnswer(BaseModel):
    """The envelope of an answer: CloudEvents, structured JSON, to the order's ``reply_to`` with its ``correlation_id``."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["generations.accepted", "generations.rejected"]
    time: datetime
    data: GenerationsChanged | GenerationRefused
