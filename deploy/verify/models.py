"""The port between verifying and a read store: what a store has applied of some streams, and where its content is not what it should be."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from deploy.verify.findings import ModelProgress
from projectors.stores.port import Advance, Position, ProjectionError

Changes = TypeVar("Changes")
Problems = dict[str, list[Mapping[str, Any]]]
"""Stream → what is wrong with its content."""


class ServerUnavailableError(Exception):
    """A server cannot be reached, or does not answer in time; the message names it."""


class NoFiguresError(LookupError):
    """A read model in Redis whose figures verifying does not know."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} cannot be verified: it is in Redis, and verify does not know what its figures should be"
        )


class Snapshot(Protocol):
    """Some streams as a store shows them at one moment."""

    @property
    def positions(self) -> Mapping[str, Position]: ...

    @property
    def discarded(self) -> Mapping[str, frozenset[int]]:
        """Stream → the versions that operators have discarded, past or future."""

    async def problems(
        self, advances: Sequence[Advance], broken: Mapping[str, str], versions: Mapping[str, int]
    ) -> Problems:
        """Hold the content against these events: for each stream all that it has applied. ``broken`` streams have no expectation.

        ``versions``: those that the streams have in the event store.
        """


class Model(Protocol):
    """One generation of a projection. What goes wrong with its server is an AwayError."""

    @property
    def name(self) -> str: ...

    @property
    def generation(self) -> int: ...

    def looking(self, streams: Sequence[str]) -> AbstractAsyncContextManager[Snapshot]: ...

    async def progress(self) -> ModelProgress: ...

    def mentioned(self) -> AsyncIterator[list[str]]:
        """Every stream of which the store has a position, a hold or a row: whoever is not in the event store is a stray. May repeat."""

    async def close(self) -> None: ...


def folded(fold: Callable[[Sequence[Advance]], Changes], advances: Sequence[Advance]) -> tuple[Changes, dict[str, str]]:
    """What a pure projection makes of the streams that it can apply; and, of the others, why it cannot."""
    failed: dict[str, str] = {}
    while True:
        try:
            return fold([advance for advance in advances if advance.stream not in failed]), failed
        except ProjectionError as error:
            for event, cause in error.failures:
                failed[event.stream] = f"version {event.version} is applied, and the projection fails on it: {cause}"[
                    :300
                ]


def unfoldable(why: Mapping[str, str]) -> Problems:
    return {stream: [{"events": reason}] for stream, reason in why.items()}
