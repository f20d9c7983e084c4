"""A person who is erased, once and for ever: asked again, nothing happens. Refusals: not-a-person.

After the event is committed, the eraser (``command_service.privacy``) destroys the key, and projections overwrite what they store in clear.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from command_service.domain.aggregate import Aggregate, Refused, State
from shared.contracts.privacy import EraseSubject, SubjectErased
from shared.contracts.registry import PERSONS


class ErasedSubject(State, frozen=True, kw_only=True):
    subject: str


def decide(erased: ErasedSubject | None, command: EraseSubject, now: datetime) -> Sequence[SubjectErased]:
    if erased is not None:
        return []
    kind = command.subject.partition("/")[0]
    if kind not in PERSONS:
        raise Refused("not-a-person", f"{kind} are no persons; persons are {', '.join(PERSONS)}")
    return [SubjectErased(subject=command.subject, reason=command.reason, erased_at=now)]


def evolve(_: ErasedSubject | None, event: SubjectErased) -> ErasedSubject:
    return ErasedSubject(subject=event.subject)


AGGREGATE: Final = Aggregate(
    kind="subjects",
    state=ErasedSubject,
    decide=decide,
    evolve=evolve,
    commands=frozenset({EraseSubject}),
    creates={EraseSubject: "stream_id"},
)
