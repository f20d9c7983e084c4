"""A store in memory whose data are the real projections' own: the summary's documents, its history, and the figures of analytics."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from projectors.models.analytics import projection as analytics
from projectors.models.summary import projection as summary
from projectors.models.summary.documents import Row
from projectors.stores.folding import Fields
from projectors.stores.port import Advance
from tests.memory_store import MemoryStore

TABLES: Final = tuple(documents.name for documents in summary.DOCUMENTS)
APPENDED: Final = (summary.HISTORY, *(table.name for table in summary.APPENDED))


class FoldedStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, dict[str, Fields]] = {table: {} for table in TABLES}
        self.appended: dict[str, list[Row]] = defaultdict(list)
        self.figures = analytics.Effects()
        self.skipped: set[tuple[str, int]] = set()
        """(stream, version) of events that were stepped over."""

    def write(self, advances: Sequence[Advance]) -> None:
        changes, figures = summary.fold(advances), analytics.fold(advances)
        for table, documents in self.documents.items():
            rows = changes.documents[table]
            rows.require(rows.changed.keys() & documents.keys())
        super().write(advances)
        for table, documents in self.documents.items():
            rows = changes.documents[table]
            documents |= rows.created
            for key, fields in rows.changed.items():
                documents[key] = documents[key] | fields
        for table, appended in changes.appended.items():
            self.appended[table] += appended
        self.figures += figures
        for advance in advances:
            self.skipped |= {(advance.stream, advance.version - n) for n in range(advance.skipped)}

    def difference(self, expected: Sequence[Advance]) -> dict[str, object]:
        """What the data are instead of the pure fold of these, all at once; empty when they are that."""
        fold, figures = summary.fold(expected), analytics.fold(expected)
        pairs: dict[str, tuple[object, object]] = {
            table: (self.documents[table], fold.documents[table].created) for table in TABLES
        }
        for table in APPENDED:
            pairs[table] = (_sorted(self.appended[table]), _sorted(fold.appended[table]))
        pairs["figures"] = (self.figures.without_zeros(), figures.without_zeros())
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """By the key, which comes first in all of them."""
    return sorted(rows, key=lambda row: row[:2])
