"""A store in memory whose data are the real projections' own: the summary's documents, its history, and the figures of analytics."""

from collections.abc import Sequence
from typing import Final

from projectors.models.analytics import projection as analytics
from projectors.models.summary import projection as summary
from projectors.stores.folding import Fields
from projectors.stores.port import Advance
from tests.memory_store import MemoryStore

TABLES: Final = ("orders", "customers", "products")


class FoldedStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, dict[str, Fields]] = {table: {} for table in TABLES}
        self.history: list[summary.HistoryRow] = []
        self.prices: list[summary.PriceRow] = []
        self.figures = analytics.Effects()
        self.skipped: set[tuple[str, int]] = set()
        """(stream, version) of events that were stepped over."""

    def write(self, advances: Sequence[Advance]) -> None:
        changes, figures = summary.fold(advances), analytics.fold(advances)
        for table, documents in self.documents.items():
            rows = getattr(changes, table)
            rows.require(rows.changed.keys() & documents.keys())
        super().write(advances)
        for table, documents in self.documents.items():
            rows = getattr(changes, table)
            documents |= rows.created
            for key, fields in rows.changed.items():
                documents[key] = documents[key] | fields
        self.history += changes.history
        self.prices += changes.prices
        self.figures += figures
        for advance in advances:
            self.skipped |= {(advance.stream, advance.version - n) for n in range(advance.skipped)}

    def difference(self, expected: Sequence[Advance]) -> dict[str, object]:
        """What the data are instead of the pure fold of these, all at once; empty when they are that."""
        fold, figures = summary.fold(expected), analytics.fold(expected)
        pairs: dict[str, tuple[object, object]] = {
            table: (self.documents[table], getattr(fold, table).created) for table in TABLES
        }
        pairs["history"] = (_sorted(self.history), _sorted(fold.history))
        pairs["prices"] = (sorted(self.prices), sorted(fold.prices))
        pairs["figures"] = (self.figures.without_zeros(), figures.without_zeros())
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _sorted(history: Sequence[summary.HistoryRow]) -> list[summary.HistoryRow]:
    return sorted(history, key=lambda moment: (moment.stream, moment.version))
