"""Erasures in a PostgreSQL read store: whichever comes first, a person's data or their erasure, the rows end in the erased form.

    a commit with personal data   locks ``erased_subjects`` in SHARE mode, then reads which of its subjects are erased:
                                  their events are folded in the erased form
    a commit with an erasure      locks it in SHARE ROW EXCLUSIVE mode, records the subject, overwrites the subject's rows

The two modes exclude each other, and are taken before anything else: so an erasure finds every row that was written before, and every
later commit finds the erasure. A key that a process still has makes no difference. Commits without personal data lock nothing.
"""

from collections.abc import Collection, Sequence
from typing import Final

from msgspec.structs import replace

from projectors.stores.port import Advance, Event
from shared.contracts.privacy import SubjectErased
from shared.contracts.registry import PERSONAL_EVENTS
from shared.privacy.marks import subject_of
from shared.privacy.sealing import erased
from shared.runtime.postgres import Connection

LOCK_FOR_DATA: Final = "LOCK TABLE erased_subjects IN SHARE MODE"
LOCK_FOR_ERASURE: Final = "LOCK TABLE erased_subjects IN SHARE ROW EXCLUSIVE MODE"
ERASED_AMONG: Final = "SELECT subject FROM erased_subjects WHERE subject = ANY ($1::text[])"
RECORD_ERASED: Final = """
INSERT INTO erased_subjects (subject) SELECT subject FROM unnest($1::text[]) AS new (subject) ORDER BY subject
ON CONFLICT DO NOTHING
"""
CONCERNED: Final = frozenset({*PERSONAL_EVENTS, SubjectErased})
"""The events that have personal data, and those that erase them."""


def subjects_in(advances: Sequence[Advance]) -> tuple[set[str], set[str]]:
    """The subjects whose personal data these events have, and those that they erase."""
    concerned = [event for advance in advances for event in advance.events if type(event.data) in CONCERNED]
    erasing = {event.data.subject for event in concerned if isinstance(event.data, SubjectErased)}
    return {subject for event in concerned if (subject := subject_of_event(event)) is not None}, erasing


async def begin(connection: Connection, with_data: Collection[str], erasing: Collection[str]) -> set[str]:
    """The first thing in a commit's transaction: lock, record whom it erases, and return who of all these is erased."""
    await connection.execute(LOCK_FOR_ERASURE if erasing else LOCK_FOR_DATA)
    if erasing:
        await connection.execute(RECORD_ERASED, sorted(erasing))
    rows = await connection.fetch(ERASED_AMONG, sorted({*with_data, *erasing}))
    return {row["subject"] for row in rows}


def in_erased_form(advances: Sequence[Advance], subjects: Collection[str]) -> list[Advance]:
    """The same, with the erased form of these subjects' personal data."""

    def changed(event: Event) -> Event:
        if type(event.data) not in PERSONAL_EVENTS or subject_of_event(event) not in subjects:
            return event
        return replace(event, data=erased(event.data))

    return [replace(advance, events=[changed(event) for event in advance.events]) for advance in advances]


def ids_of(subjects: Collection[str], kind: str) -> list[str]:
    """The ids of those subjects that are of this kind."""
    return sorted(subject.partition("/")[2] for subject in subjects if subject.startswith(f"{kind}/"))


def subject_of_event(event: Event) -> str | None:
    """Whose personal data the event has; None: nobody's."""
    return subject_of(type(event.data), event.data, event.stream)
