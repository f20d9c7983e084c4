"""The port between verify and a read store: the versions that a store has applied of some streams, and the differences in their content."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from deploy.verify.findings import ModelProgress
from projectors.stores.port import Advance, Position, ProjectionError

Changes = TypeVar("Changes")
Problems = dict[str, list[Mapping[str, Any]]]
"""Stream → the differences in its content."""


class NoFiguresError(LookupError):
    """A read model in Redis whose expected figures verify does not know."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} cannot be verified: it is in Redis, and verify does not know what its figures should be"
        )


class Snapshot(Protocol):
    """Some streams of a store, read at one moment."""

    @property
    def positions(self) -> Mapping[str, Position]: ...

    @property
    def discarded(self) -> Mapping[str, frozenset[int]]:
        """Stream → the versions that operators have discarded, past or future."""

    async def problems(
        self, advances: Sequence[Advance], unreadable: Mapping[str, str], versions: Mapping[str, int]
    ) -> Problems:
        """Compare the content with these events: for each stream all that it has applied. Streams in ``unreadable`` are not compared.

        ``versions``: the streams' versions in the event store.
        """


class Model(Protocol):
    """One generation of a projection. Each method raises ServerUnavailableError."""

    @property
    def name(self) -> str: ...

    @property
    def generation(self) -> int: ...

    def snapshot(self, streams: Sequence[str]) -> AbstractAsyncContextManager[Snapshot]: ...

    async def progress(self) -> ModelProgress: ...

    def mentioned_streams(self) -> AsyncIterator[list[str]]:
        """Every stream of which the store has a position, a hold or a row: one that is not in the event store is a stray. May repeat."""

    async def close(self) -> None: ...


def fold_applicable(
    fold: Callable[[Sequence[Advance]], Changes], advances: Sequence[Advance]
) -> tuple[Changes, dict[str, str]]:
    """The changes for the streams that a pure projection can apply, and why it cannot apply the others."""
    failed: dict[str, str] = {}
    while True:
        try:
            return fold([advance for advance in advances if advance.stream not in failed]), failed
        except ProjectionError as error:
            for event, cause in error.failures:
                failed[event.stream] = f"version {event.version} is applied, and the projection fails on it: {cause}"[
                    :300
                ]


def fold_problems(reasons: Mapping[str, str]) -> Problems:
    return {stream: [{"events": reason}] for stream, reason in reasons.items()}
