"""A figure of the source beside those of the stores. Exact: no rounding, no tolerance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of the source and of the stores; a store without this figure is not in ``stores``."""

    name: str
    source: Any
    stores: Mapping[str, Any]

    @property
    def equal(self) -> bool:
        return all(value == self.source for value in self.stores.values())
