"""What the comparison of two generations came to. Every pair is (the generation, the one it is held against).

What counts is decided at instants at which both stand at the same versions; what could not be seen at such an instant is ``undecided``,
or ``moving``, and says nothing either way.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, computed_field


class Kind(StrEnum):
    MISSING = "missing"
    """Only the one it is held against has it."""
    EXTRA = "extra"
    """Only the generation has it."""
    DIFFERENT = "different"


class Difference(BaseModel):
    """``column`` is a column, or a field in one: ``doc.total``."""

    column: str
    values: tuple[Any, Any]


class Sample(BaseModel):
    """A row, or a member of a key, that is not the same in both."""

    key: str
    kind: Kind
    differences: list[Difference] = []


class Part(BaseModel):
    """A table, or all keys of one kind."""

    name: str
    rows: tuple[int, int] = (0, 0)
    keys: tuple[int, int] | None = None
    """Redis only: how many keys its rows (fields and members) are in."""
    digests: tuple[str, str] | None = None
    """Over all rows, in any order: equal where every row is. None where rows were compared one by one and in place."""
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


class StreamApart(BaseModel):
    """A stream that does not stand at the same version in both, and what holds it, where something does."""

    stream: str
    applied: tuple[int, int]
    held: tuple[str | None, str | None] = (None, None)


class Positions(BaseModel):
    streams: tuple[int, int] = (0, 0)
    held: tuple[int, int] = (0, 0)
    """How many streams wait for something in each."""
    behind: int = 0
    ahead: int = 0
    moving: int = 0
    """Streams that were at different versions whenever they were looked at, and went on in between."""
    samples: list[StreamApart] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def equal(self) -> bool:
        return not (self.behind or self.ahead)


class Findings(BaseModel):
    """What a store finds when it compares two of its generations."""

    parts: list[Part]
    positions: Positions
    looks: int
    """How often what was on the move was looked at."""
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
    """The named fields that differ; of documents, their fields."""
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


def standing_apart(
    first: dict[str, tuple[int, int]], last: dict[str, tuple[int, int]]
) -> tuple[dict[str, tuple[int, int]], int]:
    """Of the streams still apart at the last look: those that have not moved since the first, and how many have."""
    still = {stream: applied for stream, applied in last.items() if first[stream] == applied}
    return still, len(last) - len(still)
