"""The summary's tables: documents with the columns that queries search by, the history of all events, and what else is appended."""

from collections.abc import Sequence
from typing import Any, Final

from projectors.models.summary import projection
from projectors.models.summary.documents import Changes
from projectors.models.summary.projection import APPENDED, CURRENT, DOCUMENTS, HistoryRow
from projectors.stores.tables import Table

HISTORY: Final = Table[Changes](
    name=projection.HISTORY,
    columns=HistoryRow._fields,
    key=("stream", "version"),
    stream="stream",
    kind=None,
    rows=lambda changes: [
        dict(zip(HistoryRow._fields, row, strict=True)) for row in changes.appended[projection.HISTORY]
    ],
    json=("data",),
)

TABLES: Final[Sequence[Table[Any]]] = (
    *(documents.table for documents in DOCUMENTS),
    HISTORY,
    *(appended.table for appended in APPENDED),
    *(current.table for current in CURRENT),
)
