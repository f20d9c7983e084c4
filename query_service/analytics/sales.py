"""The sorted sets of some spans as ``ranking`` reads them. Figures are exact: those that a score cannot hold are read from a hash."""

from collections.abc import Mapping, Sequence
from typing import Any

from query_service.stores.redis_store import Command, RedisStore
from shared.views.analytics import exact_figure, is_inexact

Cell = tuple[str, str]
"""Key and member."""


class Sales:
    """Implements ``query_service.analytics.ranking.RankedSets``. ``keys``: those of ``units`` or ``sales``, one for each span."""

    def __init__(self, store: RedisStore, keys: Sequence[str]) -> None:
        self._store = store
        self._keys = keys

    async def chunk(self, start: int, count: int) -> list[list[tuple[str, int]]]:
        last = start + count - 1
        return await self._ranked(*(("ZREVRANGE", key, start, last, "WITHSCORES") for key in self._keys))

    async def negatives(self) -> list[list[tuple[str, int]]]:
        return await self._ranked(*(("ZRANGEBYSCORE", key, "-inf", "(0", "WITHSCORES") for key in self._keys))

    async def totals(self, members: Sequence[str]) -> list[int]:
        if not members:
            return []
        rows = await self._store.ask(*(("ZMSCORE", key, *members) for key in self._keys))
        figures = await self._figures(
            {
                (key, member): float(score or 0)
                for key, row in zip(self._keys, rows, strict=True)
                for member, score in zip(members, row, strict=True)
            }
        )
        return [sum(figures[key, member] for key in self._keys) for member in members]

    async def _ranked(self, *commands: Command) -> list[list[tuple[str, int]]]:
        """The members and figures of each key, from the WITHSCORES reply of its command."""
        replies: list[Any] = await self._store.ask(*commands)
        figures = await self._figures(
            {
                (key, member): float(score)
                for key, reply in zip(self._keys, replies, strict=True)
                for member, score in zip(reply[::2], reply[1::2], strict=True)
            }
        )
        return [
            [(member, figures[key, member]) for member in reply[::2]]
            for key, reply in zip(self._keys, replies, strict=True)
        ]

    async def _figures(self, scores: Mapping[Cell, float]) -> dict[Cell, int]:
        figures = {cell: int(score) for cell, score in scores.items()}
        cells = [cell for cell, score in scores.items() if is_inexact(score)]
        if cells:
            keys = self._store.keys
            (texts,) = await self._store.ask(("HMGET", keys.exact, *(keys.exact_field(*cell) for cell in cells)))
            figures |= {cell: exact_figure(scores[cell], text) for cell, text in zip(cells, texts, strict=True)}
        return figures
