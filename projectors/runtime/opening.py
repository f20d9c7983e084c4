"""Opens what is sealed in decoded events: personal texts, by the keys of their subjects, which are looked up once for a batch.

A text of a subject that is erased becomes the erased form. An event whose key is missing, of a subject that is not erased, holds its stream
as ``key-missing`` and is tried again every minute: the key database has lost the key, and may get it back. While the key database is
unavailable nothing is decoded: an outage.

Errors about events with personal data are recorded without their texts, which may quote these data.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import PurePath

from msgspec.structs import replace

from projectors.runtime.decoding import ArrivedEvent, Unreadable
from projectors.runtime.retry import KEY_MISSING, Failure, failure_of
from projectors.stores.erasure import CONCERNED, subject_of_event
from projectors.stores.port import Event
from shared.contracts.privacy import SubjectErased
from shared.contracts.registry import PERSONAL_EVENTS
from shared.privacy.errors import WITHHELD, frames_of
from shared.privacy.key_cache import KeyCache
from shared.privacy.sealing import KeyMissingError, Keys, opened
from shared.runtime.outage import OutageRetry


class EventOpener:
    """Of one projector that may read personal data."""

    def __init__(self, keys: KeyCache, outages: OutageRetry) -> None:
        """``outages``: of the key database."""
        self._keys = keys
        self._outages = outages

    @property
    def trouble(self) -> str | None:
        return self._outages.stalls.trouble

    async def open(self, arrived: Sequence[ArrivedEvent]) -> Sequence[ArrivedEvent]:
        """The events with their personal texts in clear. Raises Stopped."""
        concerned = [item.event for item in arrived if type(item.event.data) in CONCERNED]
        for event in concerned:
            if isinstance(event.data, SubjectErased):
                self._keys.forget(event.data.subject)
        subjects = {subject for event in concerned if (subject := subject_of_event(event)) is not None}
        if not subjects:
            return arrived
        what = f"reading the keys of {len(subjects)} persons"
        keys = await self._outages.until_up(partial(self._keys.keys, subjects), what=what)
        return [_opened(item, keys) if type(item.event.data) in PERSONAL_EVENTS else item for item in arrived]

    async def close(self) -> None:
        await self._keys.close()


def failure_of_event(event: Event, error: BaseException, reason: str) -> Failure:
    """As ``failure_of``; without the error's text, if the event has personal data."""
    found = failure_of(error, reason)
    if type(event.data) not in PERSONAL_EVENTS:
        return found
    name = type(error).__name__
    place = found.fingerprint.split("|", 2)[1]
    return Failure(reason, f"{name}: {WITHHELD}", f"{name}|{PurePath(place)}|", frames_of(error))


def _opened(item: ArrivedEvent, keys: Keys) -> ArrivedEvent:
    event = item.event
    try:
        return replace(item, event=replace(event, data=opened(event.data, event.stream, keys)))
    except KeyMissingError as error:
        return replace(item, event=replace(event, data=Unreadable()), failure=failure_of(error, KEY_MISSING))
