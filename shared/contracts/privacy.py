"""Privacy: the erasure of a person's data (GDPR, Art. 17).

A stream is ``subjects/<kind>:<id>`` of the person's own stream ``<kind>/<id>``. Its only event says that the person is erased: no key opens
what was sealed for them, and every reader overwrites what it has of them (deploy/decisions/0064).
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field, Strict, StringConstraints

from shared.contracts.refusals import Refusal, Retry
from shared.contracts.values import SUBJECT, CommandData, EventData, EventTime, SafeText, Upcaster

Subject = Annotated[str, Strict(), StringConstraints(pattern=SUBJECT), Field(examples=["customers/c-1"])]
"""The name of a person's stream."""


class EraseSubject(CommandData):
    """For ever: there is no way back."""

    subject: Subject
    reason: Annotated[SafeText, Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Kept as it is: it must not contain personal data."
    )

    @property
    def stream_id(self) -> str:
        return self.subject.replace("/", ":", 1)


class SubjectErased(EventData, frozen=True, kw_only=True):
    subject: str
    reason: str | None = None
    erased_at: EventTime


ERASE_SUBJECT: Final = "privacy.erase-subject"
SUBJECT_ERASED: Final = "privacy.subject-erased"
KINDS: Final = ("subjects",)
"""The stream kinds of these events; a stream is ``<kind>/<id>``."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = {ERASE_SUBJECT: EraseSubject}

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = {SubjectErased: (SUBJECT_ERASED, 1)}
"""Event class → its type in messages, and the current schema version."""


def subject_of_stream(stream: str) -> str:
    """The person of a stream ``subjects/<kind>:<id>``."""
    return stream.partition("/")[2].replace(":", "/", 1)


def stream_of_subject(subject: str) -> str:
    """The stream that says that this person is erased."""
    return f"subjects/{subject.replace('/', ':', 1)}"


UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""(event type, schema version) → the function that converts its data to the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {
    "not-a-person": Refusal("Streams of this kind are no persons, so there is nobody to erase.", Retry.NEW_ID),
}
