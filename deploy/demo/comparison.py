"""Compares the stores' figures with the source's. Pure and exact: no rounding, no tolerance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.demo.figures import FIGURE_NAMES, Figures


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of the source and of the stores; a store without this figure is not in ``stores``."""

    name: str
    source: Any
    stores: Mapping[str, Any]

    @property
    def equal(self) -> bool:
        return all(value == self.source for value in self.stores.values())


def compare(source: Figures, stores: Mapping[str, Figures]) -> list[ComparedFigure]:
    """One comparison for each figure, in the order of ``figures.FIGURE_NAMES``, then one for each word."""
    return [*_figures(source, stores), *_words(source, stores)]


def _figures(source: Figures, stores: Mapping[str, Figures]) -> Iterator[ComparedFigure]:
    for field, name in FIGURE_NAMES.items():
        found = {store: getattr(figures, field) for store, figures in stores.items()}
        known = {store: value for store, value in found.items() if value is not None}
        yield ComparedFigure(name, getattr(source, field), known)


def _words(source: Figures, stores: Mapping[str, Figures]) -> Iterator[ComparedFigure]:
    for word, count in source.hits.items():
        known = {store: figures.hits[word] for store, figures in stores.items() if word in figures.hits}
        yield ComparedFigure(f"products with “{word}”", count, known)
