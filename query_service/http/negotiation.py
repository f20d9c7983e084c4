"""Content negotiation by ``Accept`` (RFC 9110 §12.5.1). Pure.

The most specific range that matches a media type states its quality. Of equal quality, the first one offered is sent.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from shared.http.problems import Problem

ACCEPT: Final = "Accept"
VARY: Final = {"Vary": ACCEPT}
"""Headers of every response that depends on ``Accept``: caches must not give one client's representation to another."""


class NotAcceptableError(Problem):
    """The client accepts none of the media types that the route has."""

    status = 406
    code = "not-acceptable"

    def __init__(self, offers: Sequence[str]) -> None:
        super().__init__(f"this route answers with {' or '.join(offers)}; Accept allows neither", headers=VARY)


def chosen(accept: Iterable[str], offers: Sequence[str]) -> str:
    """The offer to send, given the values of the header (none: anything is accepted). Raises NotAcceptableError."""
    ranges = [parsed for part in ",".join(accept).split(",") if (parsed := _parsed(part)) is not None]
    if not ranges:
        return offers[0]
    qualities = [_quality(offer, ranges) for offer in offers]
    best = max(qualities)
    if best <= 0:
        raise NotAcceptableError(offers)
    return offers[qualities.index(best)]


def _parsed(part: str) -> tuple[str, float] | None:
    """A media range in lower case and its quality; None for an empty or malformed part. Other parameters are ignored."""
    name, *parameters = (text.strip().lower() for text in part.split(";"))
    if name.count("/") != 1:
        return None
    quality = next((text.removeprefix("q=") for text in parameters if text.startswith("q=")), "1")
    try:
        return name, min(max(float(quality), 0.0), 1.0)
    except ValueError:
        return None


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the most specific range that includes the offer; 0 if none does."""
    for name in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        found = [quality for each, quality in ranges if each == name]
        if found:
            return max(found)
    return 0.0
