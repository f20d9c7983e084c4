"""Compares the stores' figures with the source's."""

from collections.abc import Iterator, Mapping

from deploy.demo.comparison import ComparedFigure
from deploy.demo.shop.figures import FIGURE_NAMES, Figures


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
