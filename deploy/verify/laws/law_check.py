"""Checks the conservation laws of all contexts (``shared.contracts.laws``) while verify reads the event store.

    each stream's events, once ──▶ totals of each key, in the spill ──broken──▶ suspects ──read again, a moment later──▶ findings

A law that streams of several aggregates have to meet is broken for a moment while a process is at work on it. So it is a finding only if it
is still broken when the time is up, by the events of then.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from deploy.verify.event_store import EventStore, UnreadableEvent
from deploy.verify.findings import EVENT_STORE, Finding, Kind
from deploy.verify.spill import Spill
from projectors.stores.port import Event
from shared.contracts.laws import Law, totals
from shared.contracts.registry import LAWS

PAGE: Final = 200
"""Suspects that are read again at once."""

SCHEMA: Final = """
CREATE TABLE law_totals (law TEXT, key TEXT, stream TEXT, amounts TEXT, PRIMARY KEY (law, key, stream)) WITHOUT ROWID;
"""
ADD_AMOUNTS: Final = "INSERT OR REPLACE INTO law_totals VALUES (?, ?, ?, ?)"
AMOUNTS: Final = "SELECT key, stream, amounts FROM law_totals WHERE law = ? ORDER BY key"


class LawCheck:
    def __init__(self, spill: Spill, laws: Sequence[Law] = LAWS) -> None:
        self._laws = laws
        self._database = spill.database
        self._database.executescript(SCHEMA)
        self._database.execute("BEGIN")
        self.broken: dict[tuple[str, str], tuple[str, ...]] = {}
        """(law, key) → its streams, of laws that were broken when they were last read."""

    def add(self, events: Mapping[str, Sequence[Event | UnreadableEvent]]) -> None:
        """Streams, each with all its events. A stream that is added again replaces what it stated before."""
        for stream, history in events.items():
            facts = [event.data for event in history if not isinstance(event, UnreadableEvent)]
            for law in self._laws:
                for key, amounts in totals(law, facts).items():
                    self._database.execute(ADD_AMOUNTS, (law.name, key, stream, json.dumps(amounts)))

    def compare(self) -> None:
        """Find the laws that are broken by what was added."""
        for law in self._laws:
            for key, streams, added in self._keys(law):
                if law.broken(added) is not None:
                    self.broken[law.name, key] = streams

    async def recheck(self, event_store: EventStore) -> None:
        """Read the streams of broken laws again, and forget the laws that hold by now."""
        suspects = list(self.broken)
        for start in range(0, len(suspects), PAGE):
            page = suspects[start : start + PAGE]
            streams = sorted({stream for suspect in page for stream in self.broken[suspect]})
            stored = await event_store.read(streams, content=True)
            for name, key in page:
                if self._problem(name, key, stored.events) is None:
                    del self.broken[name, key]

    async def findings(self, event_store: EventStore) -> list[Finding]:
        """Of the laws that are still broken."""
        found = []
        for (name, key), streams in sorted(self.broken.items()):
            law = self._named(name)
            stored = await event_store.read(streams, content=True)
            problem = self._problem(name, key, stored.events)
            if problem is not None:
                detail = {"law": name, "statement": law.statement, "problem": problem, "streams": list(streams)}
                found.append(Finding(EVENT_STORE, Kind.LAW, f"{law.kind}/{key}", detail))
        return found

    def _problem(self, name: str, key: str, events: Mapping[str, Sequence[Event | UnreadableEvent]]) -> str | None:
        law = self._named(name)
        facts = (
            event.data
            for stream in self.broken[name, key]
            for event in events.get(stream, ())
            if not isinstance(event, UnreadableEvent)
        )
        return law.broken(totals(law, facts).get(key, {}))

    def _keys(self, law: Law) -> Iterator[tuple[str, tuple[str, ...], dict[str, int]]]:
        """Each key with its streams, and with the totals of these."""
        key, streams, added = None, list[str](), dict[str, int]()
        for found, stream, amounts in self._database.execute(AMOUNTS, (law.name,)):
            if found != key:
                if key is not None:
                    yield key, tuple(streams), added
                key, streams, added = found, [], {}
            streams.append(stream)
            for name, amount in json.loads(amounts).items():
                added[name] = added.get(name, 0) + amount
        if key is not None:
            yield key, tuple(streams), added

    def _named(self, name: str) -> Law:
        return next(law for law in self._laws if law.name == name)
