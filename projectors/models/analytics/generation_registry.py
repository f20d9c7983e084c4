"""The registry of generations of the analytics store: the hash ``analytics-registry``.

Every change WATCHes it: of two concurrent writers one reads again. Clocks need not agree: times are only displayed, or compared for
equality.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import TypeAdapter
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from projectors.generations import epoch_notes, epochs
from projectors.generations.registry import DEFAULT_GENERATION, AppliedPage
from projectors.models.analytics.connection import client, raising_unavailable
from shared.views.analytics import DAYS_ONLY, PREFIX, Keys
from shared.views.generations import ACTIVE_FIELD, Generation, GenerationState, generation_name, registry_key

SCAN_COUNT: Final = 500
_FIELDS: Final = TypeAdapter(dict[str, Any])
Change = Callable[[dict[int, Generation], Pipeline], bool]
"""Given the generations by number, queues the commands that change them; False: nothing is to be changed."""


class AnalyticsRegistry(epoch_notes.EpochNotes):
    """``projectors.generations.registry.GenerationRegistry`` on Redis. ``prefix`` is that of the first generation."""

    def __init__(
        self, url: str, prefix: str = PREFIX, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._prefix = prefix
        self._key = registry_key(prefix)
        self._redis = client(url)
        self._clock = clock

    async def open(self) -> None:
        with raising_unavailable():
            await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()

    async def generations(self) -> Sequence[Generation]:
        with raising_unavailable():
            fields: dict[str, str] = await self._redis.hgetall(self._key)  # type: ignore[assignment]
        return _read(fields)

    async def begin(self, number: int, *, kinds: Sequence[str], rate: float | None, by: str) -> None:
        if any(generation.number == number for generation in await self.generations()):
            return
        await self._clear(number)  # left behind by an interrupted request

        def change(known: dict[int, Generation], pipeline: Pipeline) -> bool:
            if number in known:
                return False
            for generation in known.values():
                self._put(pipeline, generation)
                if generation.active:
                    source, target = (Keys(generation_name(self._prefix, n)) for n in (generation.number, number))
                    pipeline.copy(source.discarded, target.discarded, replace=True)
                    pipeline.copy(source.first, target.first, replace=True)
            pipeline.sadd(Keys(generation_name(self._prefix, number)).totalled, DAYS_ONLY)
            now = self._clock()
            active = next((each for each in known.values() if each.active), DEFAULT_GENERATION)
            self._put(
                pipeline,
                Generation(
                    number=number,
                    state=GenerationState.BUILDING,
                    active=False,
                    begun_at=now,
                    updated_at=now,
                    kinds=tuple(kinds),
                    rate=rate,
                    begun_by=by,
                ).model_copy(update=epochs.epochs_for_new_generation(active)),
            )
            return True

        await self._change(change)

    async def claim(self, seen: Generation) -> bool:
        return await self._update(seen.number, lambda at: at.updated_at == seen.updated_at)

    async def touch(self, number: int) -> None:
        await self._update(number, lambda _: True)

    async def scanned(self, number: int, page: AppliedPage) -> bool:
        return await self._update(
            number,
            lambda at: (at.cursor_stream, at.cursor_version) == page.after and not at.done,
            lambda at: {
                "cursor_stream": page.last[0],
                "cursor_version": page.last[1],
                "scanned": at.scanned + page.events,
                "total": at.total if at.total is not None else page.total,
                "done": page.done,
                "reads_since": at.reads_since or page.read_at,
            },
        )

    async def settled(self, number: int, lane: int) -> None:
        await self._update(
            number, lambda at: at.done and lane not in at.settled, lambda at: {"settled": (*at.settled, lane)}
        )

    async def ready(self, number: int) -> None:
        building = GenerationState.BUILDING
        await self._update(
            number,
            lambda at: at.done and at.state is building,
            lambda _: {"state": GenerationState.READY, "ready_at": self._clock()},
        )

    async def activate(self, number: int, *, by: str) -> bool:
        def change(known: dict[int, Generation], pipeline: Pipeline) -> bool:
            if number not in known or known[number].state is not GenerationState.READY:
                return False
            for generation in known.values():
                self._put(pipeline, generation.model_copy(update={"active": False}))
            chosen = {"active": True, "activated_at": self._clock(), "activated_by": by}
            self._put(pipeline, known[number].model_copy(update=chosen))
            return True

        return await self._change(change)

    async def note_epochs(self, number: int, change_of: epoch_notes.Change) -> None:
        def change(known: dict[int, Generation], pipeline: Pipeline) -> bool:
            changes = change_of(known[number]) if number in known else {}
            if changes:
                self._put(pipeline, known[number].model_copy(update=changes))
            return bool(changes)

        await self._change(change)

    async def note_kinds(self, number: int, before: Sequence[str] | None, kinds: Sequence[str]) -> bool:
        was = None if before is None else tuple(before)

        def change(known: dict[int, Generation], pipeline: Pipeline) -> bool:
            if number not in known or known[number].kinds != was:
                return False
            self._put(pipeline, known[number].model_copy(update={"kinds": tuple(kinds)}))
            return True

        return await self._change(change)

    async def drop(self, number: int) -> None:
        def change(known: dict[int, Generation], pipeline: Pipeline) -> bool:
            if number in known and known[number].active:
                return False
            pipeline.hdel(self._key, str(number))
            return True

        if await self._change(change):
            await self._clear(number)

    async def _clear(self, number: int) -> None:
        """Delete the generation's keys, in pages: Redis serves other clients in between. No process writes keys of a generation that the
        registry does not contain."""
        with raising_unavailable():
            cursor = None
            pattern = f"{generation_name(self._prefix, number)}:*"
            while cursor != 0:
                cursor, keys = await self._redis.scan(cursor or 0, match=pattern, count=SCAN_COUNT)
                if keys:
                    await self._redis.unlink(*keys)

    async def _update(
        self,
        number: int,
        applies: Callable[[Generation], bool],
        update: Callable[[Generation], dict[str, Any]] = lambda _: {},
    ) -> bool:
        def change(known: dict[int, Generation], pipeline: Pipeline) -> bool:
            generation = known.get(number)
            if generation is None or not applies(generation):
                return False
            self._put(pipeline, generation.model_copy(update={"updated_at": self._clock(), **update(generation)}))
            return True

        return await self._change(change)

    async def _change(self, change: Change) -> bool:
        with raising_unavailable():
            while True:
                try:
                    async with self._redis.pipeline(transaction=True) as pipeline:
                        await pipeline.watch(self._key)
                        fields: Any = await pipeline.hgetall(self._key)
                        pipeline.multi()  # type: ignore[no-untyped-call]
                        if not change({each.number: each for each in _read(fields)}, pipeline):
                            return False
                        await pipeline.execute()
                        return True
                except WatchError:
                    continue

    def _put(self, pipeline: Pipeline, generation: Generation) -> None:
        number = str(generation.number)
        pipeline.hset(self._key, number, generation.model_dump_json(exclude={"active"}))
        if generation.active:
            pipeline.hset(self._key, ACTIVE_FIELD, number)


def _read(fields: dict[str, str]) -> list[Generation]:
    active = fields.get(ACTIVE_FIELD)
    found = [
        Generation.model_validate({**_FIELDS.validate_json(text), "active": name == active})
        for name, text in fields.items()
        if name != ACTIVE_FIELD
    ]
    return sorted(found, key=lambda generation: generation.number) or [DEFAULT_GENERATION]
