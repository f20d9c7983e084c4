"""The result of comparing two generations. Every pair is (the generation, the one that it is compared with).

Differences are decided at instants at which both are at the same versions; data never read at such an instant are ``undecided`` or
``moving``, and count neither as equal nor as different.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, computed_field


class Kind(StrEnum):
    MISSING = "missing"
    """Only the other generation has it."""
    EXTRA = "extra"
    """Only the generation has it."""
    DIFFERENT = "different"


class Difference(BaseModel):
    """``column`` is a column, or a field in one: ``doc.total``."""

    column: str
    values: tuple[Any, Any]


class Sample(BaseModel):
    """A row, or a member of a key, that differs."""

    key: str
    kind: Kind
    differences: list[Difference] = []


class Part(BaseModel):
    """A table, or all keys of one kind."""

    name: str
    rows: tuple[int, int] = (0, 0)
    keys: tuple[int, int] | None = None
    """Redis only: the number of keys that contain its rows (fields and members)."""
    digests: tuple[str, str] | None = None
    """Over all rows, independent of their order: equal if all rows are. None if rows were compared one by one."""
    missing: int = 0
    extra: int = 0
    different: int = 0
    undecided: int = 0
    columns_only: tuple[list[str], list[str]] = ([], [])
    """Columns that only one of the two has: the code, or the schema, changed between them."""
    note: str | None = None
    samples: list[Sample] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.different)


class StreamDifference(BaseModel):
    """A stream that is at different versions, and the reason why it is held in each, if it is."""

    stream: str
    applied: tuple[int, int]
    held: tuple[str | None, str | None] = (None, None)


class Positions(BaseModel):
    streams: tuple[int, int] = (0, 0)
    held: tuple[int, int] = (0, 0)
    """The number of held streams in each."""
    behind: int = 0
    ahead: int = 0
    moving: int = 0
    """Streams that were at different versions in every round, and advanced in between."""
    samples: list[StreamDifference] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def equal(self) -> bool:
        return not (self.behind or self.ahead)


class Findings(BaseModel):
    """The differences between two generations of a store."""

    parts: list[Part]
    positions: Positions
    looks: int
    """The number of rounds in which changing data were read."""
    note: str | None = None


class Comparison(Findings):
    projection: str
    generations: tuple[int, int]
    seconds: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def equal(self) -> bool:
        return self.positions.equal and all(part.equal for part in self.parts)


def differences(here: dict[str, Any], there: dict[str, Any], names: Iterable[str]) -> list[Difference]:
    """The named columns that differ; in documents, their fields."""
    found = []
    for name in names:
        one, other = here.get(name), there.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            fields = [field for field in {**one, **other} if one.get(field) != other.get(field)]
            found += [
                Difference(column=f"{name}.{field}", values=(one.get(field), other.get(field))) for field in fields
            ]
        else:
            found.append(Difference(column=name, values=(one, other)))
    return found


def unchanged_differences(
    first: dict[str, tuple[int, int]], last: dict[str, tuple[int, int]]
) -> tuple[dict[str, tuple[int, int]], int]:
    """Of the streams that differ in the last round: those that have not changed since the first, and the number that have."""
    unchanged = {stream: applied for stream, applied in last.items() if first[stream] == applied}
    return unchanged, len(last) - len(unchanged)
