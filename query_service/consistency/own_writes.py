"""Read-your-writes consistency: returns the store once it has applied the requested writes, or raises a 412 that states why not."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from query_service.consistency.not_met import ConsistencyNotMetError
from query_service.consistency.tokens import Token
from query_service.consistency.waiting import NotReached, PositionWaiters, Reached, Wanted
from query_service.http.problems import GenerationGoneError
from query_service.stores.active_generation import ActiveGeneration, Store
from query_service.stores.operations_store import OperationsStore
from query_service.stores.port import StreamPosition
from shared.observability import metrics
from shared.read_models import is_of

AT_ONCE_S: Final = 0.02
"""What is found applied when it is looked up first takes less; what is waited for usually more."""


async def with_own_writes(
    tokens: Sequence[Token],
    seconds: float,
    *,
    active: ActiveGeneration[Store],
    waiting: PositionWaiters,
    operations: OperationsStore,
    headers: Mapping[str, str],
) -> Store:
    """The active generation's store, once it has applied the writes of ``tokens``, within ``seconds``.

    Raises ConsistencyNotMetError, with ``headers`` added, and StoreDownError. A write of another epoch than that of the generation is
    never met; if the token or the generation names no epoch, only versions are compared. A write to a kind of
    stream that the projection does not read is met at once: it changes nothing there.
    """
    store = await active.store()
    tokens = [token for token in tokens if active.reads(token.stream)]
    if not tokens:
        return store
    await _has_kinds(tokens, active, headers)
    await _same_epoch(tokens, store, active, headers)
    wanted: dict[str, int] = {}
    for token in tokens:
        wanted[token.stream] = max(token.version, wanted.get(token.stream, 0))
    found = await _until(waiting, wanted, seconds, active.projection)
    if isinstance(found, Reached):
        reached = active.at(found.generation)
        if reached is None:  # activated and replaced again too long ago
            raise GenerationGoneError(active.projection, found.generation)
        if reached is not store:
            await _same_epoch(tokens, reached, active, headers)
        return reached
    raise await _not_met(found, await active.store(), operations, headers)


async def _until(waiting: PositionWaiters, wanted: Wanted, seconds: float, projection: str) -> Reached | NotReached:
    """``waiting.until``, counted by how it ended."""
    began, result = time.monotonic(), "failed"
    try:
        found = await waiting.until(wanted, seconds)
        if isinstance(found, Reached):
            result = "at-once" if time.monotonic() - began < AT_ONCE_S else "waited"
        else:
            result = "held" if found.held_by_dead_letter else "timeout"
    finally:
        metrics.OWN_WRITE_WAITS.add(1, projection, result)
        metrics.OWN_WRITE_SECONDS.observe(time.monotonic() - began)
    return found


async def _has_kinds(tokens: Sequence[Token], active: ActiveGeneration[Store], headers: Mapping[str, str]) -> None:
    """Raises ConsistencyNotMetError for a write to a kind of stream that the active generation does not have."""
    if active.incomplete is None:
        return
    active.forget()  # another one may have become active since the registry was read
    store, lacks = await active.store(), active.incomplete
    missing = next((token for token in tokens if lacks is not None and is_of(lacks.kinds, token.stream)), None)
    if lacks is not None and missing is not None:
        metrics.OWN_WRITE_WAITS.add(1, active.projection, "incomplete")
        raise ConsistencyNotMetError(
            projection=store.projection,
            generation=store.number,
            stream=missing.stream,
            required=missing.version,
            position=StreamPosition(),
            headers={**await store.headers(), **headers},
            incomplete=lacks.detail,
        )


async def _same_epoch(
    tokens: Sequence[Token], store: Store, active: ActiveGeneration[Store], headers: Mapping[str, str]
) -> None:
    if _of_other_epoch(tokens, active.pointer.epoch) is not None:
        active.forget()  # the generation may have adopted the new epoch since the registry was read
        await active.store()
    epoch = active.pointer.epoch
    other = _of_other_epoch(tokens, epoch)
    if epoch is None or other is None:
        return
    positions = await store.positions([other.stream])
    metrics.OWN_WRITE_WAITS.add(1, active.projection, "epoch-changed")
    raise ConsistencyNotMetError(
        projection=store.projection,
        generation=store.number,
        stream=other.stream,
        required=other.version,
        position=positions.get(other.stream, StreamPosition()),
        headers={**await store.headers(), **headers},
        epoch=epoch,
    )


def _of_other_epoch(tokens: Sequence[Token], epoch: str | None) -> Token | None:
    if epoch is None:
        return None
    return next((token for token in tokens if token.epoch is not None and token.epoch != epoch), None)


async def _not_met(
    found: NotReached, store: Store, operations: OperationsStore, headers: Mapping[str, str]
) -> ConsistencyNotMetError:
    hold = found.position.hold
    letter_id = None
    if hold is not None and hold.dead:
        letter_id = await operations.holding(store.projection, found.stream, hold.version)
    return ConsistencyNotMetError(
        projection=store.projection,
        generation=store.number,
        stream=found.stream,
        required=found.wanted,
        position=found.position,
        headers={**await store.headers(), **headers},
        letter_id=letter_id,
    )
