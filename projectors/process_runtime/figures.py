"""Gauges of a process manager: what waits in it, and what is late."""

from projectors.process_runtime.store import ProcessStore
from shared.observability import metrics
from shared.views.processes import FIGURES


class ProcessFigures:
    def __init__(self, store: ProcessStore) -> None:
        self._store = store

    async def read(self) -> None:
        """Raises StoreUnavailableError."""
        async with self._store.transaction() as connection:
            row = await connection.fetchrow(FIGURES)
        if row is None:
            return
        name = self._store.manager.name
        for state, column in (("awaiting-start", "awaiting_start"), ("running", "running"), ("failed", "failed")):
            metrics.PROCESS_COUNT.set(row[column], name, state)
        metrics.TIMERS_OVERDUE.set(row["timers_overdue"], name)
        for state, column in (
            ("unsent", "commands_unsent"),
            ("unanswered", "commands_without_outcome"),
            ("overdue", "commands_overdue"),
        ):
            metrics.PROCESS_COMMANDS.set(row[column], name, state)
