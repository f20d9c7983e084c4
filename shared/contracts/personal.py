"""Which fields of commands, events and states are a person's data, and whose.

A field is marked by its type, ``Personal[...]``. The person is a *subject*, the name of a stream of a kind that a context lists in
``PERSONS`` (``customers/c-1``): the stream that the command or event belongs to, unless its class says otherwise with
``personal_subject``. A text of nobody in particular (a review without a customer) is sealed for nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Final, TypeVar, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PersonalMark:
    """In a type's annotations: the field is a person's data, and a text or absent."""


PERSONAL: Final = PersonalMark()
Personal = Annotated[T, PERSONAL]

ERASED: Final = "[erased]"
"""What stands for every personal text of a subject that has been erased, wherever it is shown. What was absent stays absent."""

MARKER: Final = "tmk1:"
"""Begins a sealed text (``shared.privacy.sealing``)."""


class HasPersonalData:
    """What commands and events say about their personal fields."""

    __slots__ = ()
    personal_subject: ClassVar[tuple[str, str] | None] = None
    """The kind of stream and the field with its id, of the person whose data these are; None: it is the stream's own."""


@cache
def personal_fields(cls: type[Any]) -> tuple[str, ...]:
    """The names of the class's personal fields; mostly none."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(name for name, kind in hints.items() if PERSONAL in getattr(kind, "__metadata__", ()))


def subject_of(cls: type[Any], fields: Mapping[str, Any] | Any, stream: str | None) -> str | None:
    """Whose the personal fields are; None: nobody's. ``fields``: an object of the class, or its fields by name, valid or not."""
    if not personal_fields(cls):
        return None
    elsewhere: tuple[str, str] | None = cls.personal_subject if issubclass(cls, HasPersonalData) else None
    if elsewhere is None:
        return stream
    kind, name = elsewhere
    found = fields.get(name) if isinstance(fields, Mapping) else getattr(fields, name)
    return f"{kind}/{found}" if isinstance(found, str) and found else None
