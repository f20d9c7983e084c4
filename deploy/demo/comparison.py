"""Holding the stores' figures against the source's: pure, exact, nothing is rounded and nothing is nearly equal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.demo.figures import LINES, Figures


@dataclass(frozen=True, slots=True)
class Line:
    """One figure by all who have it; a store that has no such figure is not in ``stores``."""

    name: str
    source: Any
    stores: Mapping[str, Any]

    @property
    def equal(self) -> bool:
        return all(value == self.source for value in self.stores.values())


def compare(source: Figures, stores: Mapping[str, Figures]) -> list[Line]:
    """A line for each figure, in the order of ``figures.LINES``, then one for each word."""
    return [*_figures(source, stores), *_words(source, stores)]


def _figures(source: Figures, stores: Mapping[str, Figures]) -> Iterator[Line]:
    for field, name in LINES.items():
        found = {store: getattr(figures, field) for store, figures in stores.items()}
        known = {store: value for store, value in found.items() if value is not None}
        yield Line(name, getattr(source, field), known)


def _words(source: Figures, stores: Mapping[str, Figures]) -> Iterator[Line]:
    for word, count in source.hits.items():
        known = {store: figures.hits[word] for store, figures in stores.items() if word in figures.hits}
        yield Line(f"products with “{word}”", count, known)
