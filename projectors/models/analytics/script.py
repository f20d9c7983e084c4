"""Encodes a commit as the keys and the argument of ``commit.lua``: both have to agree on the format.

Equal increments of several keys (a day, its month, all time) are sent once, as a *sum* that refers to its keys by their index in KEYS.
MessagePack, because Redis decodes it in C.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter

from projectors.models.analytics.projection import (
    Counts,
    Effects,
    by_day,
    by_hour,
    by_span,
    is_day,
    parts_of_totals,
    sales_by_span,
)
from projectors.stores.port import Commit, Hold
from projectors.stores.storable import storable
from shared.views.analytics import EXACT, Keys

_HOLD: Final = TypeAdapter(Hold)
_HOLD_FIELDS: Final = TypeAdapter(dict[str, Any])
_ENCODER: Final = msgspec.msgpack.Encoder()
KeyOf = Callable[[str], str]
"""Span → its key."""


class CommitCall:
    """``keys`` and ``argument`` of one run of ``commit.lua``. ``entry``: a hash and its field without which nothing is written.

    ``days_only``: totals of products are left out; if any total is maintained when the script runs, nothing is written.
    """

    def __init__(
        self,
        layout: Keys,
        commit: Commit,
        effects: Effects,
        entry: tuple[str, str] | None = None,
        *,
        days_only: bool = False,
    ) -> None:
        self.keys: list[str] = [
            layout.positions,
            layout.held,
            layout.due,
            layout.progress,
            layout.currencies,
            layout.days,
            layout.names,
            layout.line_names,
            layout.discarded,
            layout.totalled,
            entry[0] if entry is not None else layout.positions,
            layout.exact,
            layout.first,
            layout.counted,
        ]
        settled = effects.without_zeros()
        self.argument: Final[bytes] = _ENCODER.encode(
            _moves(commit)
            | {
                "entry": entry[1] if entry is not None else False,
                "prefix": layout.prefix,
                "released": commit.released,
                "discarded": commit.discarded,
                "holds": [_held(stream, storable(hold)) for stream, hold in commit.holds.items()],
                "told": [(stream, hold.version, hold.attempts) for stream, hold in commit.confirmed.items()],
                "days_only": days_only and bool(settled.units),
                "sums": [
                    *self._buckets(layout, settled),
                    *self._buyers(layout, settled),
                    *self._sales_by(layout, settled),
                    *self._products(layout, settled, days_only=days_only),
                ],
                "currencies": list(dict.fromkeys(currency for currency, _ in settled.sales)),
                "days": [text for day in settled.units for text in (day, day)],
                "names": _flat(settled.names),
                "line_names": {"products": list(settled.line_names), "names": list(settled.line_names.values())},
                "progress": [
                    {"lane": str(lane), "as_of": _sortable(step.as_of) if step.as_of else False, "events": step.events}
                    for lane, step in commit.progress.items()
                ],
            }
        )

    def _buckets(self, layout: Keys, effects: Effects) -> Iterator[dict[str, Any]]:
        for currency, counts in by_hour(effects).items():
            yield _sum([self._place(layout.hours_in(currency))], counts, counter=True)
        for currency, counts in by_day(effects).items():
            yield _sum([self._place(layout.days_in(currency))], counts, counter=True)

    def _buyers(self, layout: Keys, effects: Effects) -> Iterator[dict[str, Any]]:
        for spans, counts in by_span(effects.buyers):
            yield _sum(self._places(layout.buyers, spans), counts)

    def _sales_by(self, layout: Keys, effects: Effects) -> Iterator[dict[str, Any]]:
        for dimension, currency, spans, counts in sales_by_span(effects):
            yield _sum(self._places(partial(layout.sales_by, dimension, currency), spans), counts)
        for group, counts in effects.buyers_by.items():
            yield _sum([self._place(layout.buyers_by(*group))], counts)

    def _products(self, layout: Keys, effects: Effects, *, days_only: bool) -> Iterator[dict[str, Any]]:
        """The keys of the days, and those of totals: a generation that is being built does not maintain all of them."""
        tallies: list[tuple[KeyOf, Mapping[str, Counts]]] = [(layout.units, effects.units)]
        for currency in {currency for currency, _ in effects.sales}:
            days = {day: counts for (other, day), counts in effects.sales.items() if other == currency}
            tallies.append((partial(layout.sales, currency), days))
        for key_of, tally in tallies:
            for spans, counts in by_span(tally) if not days_only else [([day], tally[day]) for day in tally]:
                keys = self._places(key_of, [span for span in spans if is_day(span)])
                totals = self._places(key_of, [span for span in spans if not is_day(span)])
                yield _sum(keys, counts, totals, scored=True)

    def _places(self, key_of: KeyOf, spans: Iterable[str]) -> list[int]:
        return [self._place(key_of(span)) for span in spans]

    def _place(self, key: str) -> int:
        self.keys.append(key)
        return len(self.keys)


def _moves(commit: Commit) -> dict[str, Any]:
    """The expected and the new version of each stream; they are equal for a stream that is only held, whose position is checked."""
    moves = {advance.stream: (advance.expected, advance.version) for advance in commit.advances}
    for stream, hold in commit.holds.items():
        moves.setdefault(stream, (hold.version - 1, hold.version - 1))
    return {
        "streams": list(moves),
        "expected": [expected for expected, _ in moves.values()],
        "versions": [version for _, version in moves.values()],
    }


def _sum(
    keys: list[int], counts: Counts, totals: Sequence[int] = (), *, scored: bool = False, counter: bool = False
) -> dict[str, Any]:
    """``scored``: in sorted sets, else in hashes. ``counter``: a member at zero is kept. ``texts``: the increments are decimal text, as
    one is not exact as a double."""
    increments = list(counts.values())
    texts = bool(counts) and not (max(increments) < EXACT and min(increments) > -EXACT)
    return {
        "keys": keys,
        "totals": totals,
        "members": list(counts),
        "increments": list(map(str, increments)) if texts else increments,
        "scored": scored,
        "counter": counter,
        "texts": texts,
    }


def totals(layout: Keys, days: Iterable[str], currencies: Iterable[str]) -> list[list[str]]:
    """The keys of ``total.lua`` for each total of these days and currencies: the total, then its parts. A total comes after its parts."""
    kinds: list[KeyOf] = [layout.units, *(partial(layout.sales, currency) for currency in currencies)]
    return [[key_of(span), *map(key_of, parts)] for key_of in kinds for span, parts in parts_of_totals(days)]


def _flat(pairs: Mapping[str, str]) -> list[str]:
    return [text for pair in pairs.items() for text in pair]


def _held(stream: str, hold: Hold) -> dict[str, Any]:
    """The hold as JSON without ``due_at``, which is in a separate key and changes separately."""
    text = _HOLD.dump_json(hold, exclude={"due_at"}).decode()
    return {"stream": stream, "hold": text, "due_at": repr(hold.due_at.timestamp()) if hold.due_at else False}


def hold_from_json(text: str, due_at: float | None) -> Hold:
    """Decodes a hold from its JSON, and its ``due_at`` from the other key."""
    due = None if due_at is None else datetime.fromtimestamp(due_at, UTC)
    return _HOLD.validate_python({**_HOLD_FIELDS.validate_json(text), "due_at": due})


def _sortable(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
