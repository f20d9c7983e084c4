"""Which fields of commands, events and states are a person's data, and whose.

A field is marked by its type, ``Personal[...]``. The person is a *subject*, the name of a stream of a kind that a context lists in
``PERSONS`` (``customers/c-1``): the stream that the command or event belongs to, unless its class says otherwise with
``personal_subject``. A text of nobody in particular (a review without a customer) is sealed for nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeVar, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PersonalMark:
    """In a type's annotations: the field is a person's data, and a text or absent."""


PERSONAL: Final = PersonalMark()
Personal = Annotated[T, PERSONAL]

ERASED: Final = "[erased]"
"""What stands for every personal text of a subject that has been erased, wherever it is shown. What was absent stays absent."""

MAX_ID: Final = 128
"""Characters: what is longer is nobody's id (``shared.contracts.values.Id``)."""

MARKER: Final = "tmk1:"
"""Begins a sealed text (``shared.privacy.sealing``)."""


class HasPersonalData:
    """What commands and events say about their personal fields."""

    __slots__ = ()
    personal_subject: ClassVar[tuple[str, str] | None] = None
    """The kind of stream and the field with its id, of the person whose data these are; no field (""): the stream's own id. Every command
    with personal fields has it. None, in an event: it is the stream itself."""


_FIELDS: Final[dict[type[Any], tuple[str, ...]]] = {}


def personal_fields(cls: type[Any]) -> tuple[str, ...]:
    """The names of the class's personal fields; mostly none."""
    found = _FIELDS.get(cls)
    if found is None:
        hints = get_type_hints(cls, include_extras=True)
        found = tuple(name for name, kind in hints.items() if PERSONAL in getattr(kind, "__metadata__", ()))
        _FIELDS[cls] = found
    return found


def subject_of(cls: type[Any], fields: Mapping[str, Any] | Any, stream: str) -> str | None:
    """Whose the personal fields are; None: nobody's. ``fields``: an object of the class, or its fields by name, valid or not.

    ``stream``: of the event, state or command; of a command that is not valid, ``/`` and its envelope's subject will do.
    """
    if not personal_fields(cls):
        return None
    declared: tuple[str, str] | None = cls.personal_subject if issubclass(cls, HasPersonalData) else None
    if declared is None:
        return stream
    kind, name = declared
    if not name:
        found: Any = stream.partition("/")[2]
    else:
        found = fields.get(name) if isinstance(fields, Mapping) else getattr(fields, name)
    return f"{kind}/{found}" if isinstance(found, str) and 0 < len(found) <= MAX_ID and "\x00" not in found else None
