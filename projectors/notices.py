"""What a projector publishes about events it could not apply: copies for the delay tiers, dead letters, requests for a resend."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from projectors.decoding import Arrived, Undecodable
from projectors.projection import Hold
from projectors.retry import Failure
from shared import topology
from shared.broker import Outgoing
from shared.contracts.control import MAX_STREAMS, RESEND, Resend, ResendRequest, StreamFrom
from shared.contracts.envelope import CONTENT_TYPE

TEXT_LIMIT: Final = 2048
"""Bytes of any text in a header: all headers together must stay under 32 KiB."""


def retry_copy(projector: str, item: Arrived, tier: str) -> Outgoing:
    """Comes back to the event's own lane when the tier's time is up."""
    key = topology.private_lane_key(projector, item.event.lane)
    return Outgoing(topology.retry_exchange(tier), key, item.body(), CONTENT_TYPE, type=item.event.type)


def dead_letter(projector: str, item: Arrived, hold: Hold, failure: Failure) -> Outgoing:
    headers = _headers(projector, failure) | {
        "tidemark-stream": item.event.stream,
        "tidemark-version": item.event.version,
        "tidemark-attempts": hold.attempts,
        "tidemark-first-failed-at": hold.first_failed_at.isoformat(),
    }
    return Outgoing(topology.DEAD, projector, item.body(), CONTENT_TYPE, type=item.event.type, headers=headers)


def undecodable_letter(projector: str, item: Undecodable) -> Outgoing:
    return Outgoing(
        topology.DEAD, projector, item.body, "application/octet-stream", headers=_headers(projector, item.failure)
    )


def resend_requests(projector: str, wanted: Sequence[tuple[str, int]]) -> Iterator[Outgoing]:
    """``wanted``: (stream, first version) each."""
    for start in range(0, len(wanted), MAX_STREAMS):
        streams = tuple(StreamFrom(stream=s, version=v) for s, v in wanted[start : start + MAX_STREAMS])
        request = ResendRequest(
            id=f"resend/{uuid4()}",
            source=f"tidemark/projectors/{projector}",
            time=datetime.now(UTC),
            data=Resend(projection=projector, streams=streams),
        )
        body = request.model_dump_json().encode()
        yield Outgoing(topology.CONTROL, topology.RESEND_KEY, body, CONTENT_TYPE, type=RESEND)


def _headers(projector: str, failure: Failure) -> dict[str, Any]:
    return {
        "tidemark-origin": projector,
        "tidemark-reason": failure.reason,
        "tidemark-exception": _short(failure.exception),
        "tidemark-fingerprint": _short(failure.fingerprint),
        "tidemark-trace": _short(failure.trace),
        "tidemark-failed-at": datetime.now(UTC).isoformat(),
    }


def _short(text: str) -> str:
    return text.encode()[-TEXT_LIMIT:].decode(errors="ignore")
