"""Refusals for lack of a right reach the audit: counted per minute, identity and action, and published until the broker has them.

    service ──note──▶ Denials ──once a minute──▶ [changes] <service>.denied ──▶ dead-letter worker ──▶ audit

Noting one is a dictionary update: a flood of refused requests costs neither messages nor memory (MAX_KINDS, MAX_WAITING). What a killed
process had not published yet, at most a minute's counts, is lost; the refusals themselves held.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from shared.messages.control import Request
from shared.messages.denials import DENIED, Denied
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

ANONYMOUS: Final = "anonymous"
"""The identity of a request without a valid credential."""
MAX_KINDS: Final = 1000
"""The most different refusals counted in a minute; further ones are counted together, as those of OTHERS."""
OTHERS: Final = "(others)"
MAX_WAITING: Final = 10_000
"""The most messages kept while the broker is unavailable; the oldest are dropped then, and their number is logged."""
CHECK_EVERY_S: Final = 1.0
RETRY_AFTER_S: Final = 5.0
LAST_DEADLINE_S: Final = 3.0
MAX_LABEL: Final = 200


@dataclass(frozen=True, slots=True)
class _Kind:
    identity: str
    behind: str | None
    action: str
    code: str
    scope: str | None


class Denials:
    """Counts this process's refusals and publishes them. ``service``: the deployable's name, without full stops."""

    def __init__(
        self, service: str, publisher: Publisher, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._service = service
        self._publisher = publisher
        self._now = now
        self._instance = uuid4().hex
        self._minute = _minute(now())
        self._counts: Counter[_Kind] = Counter()
        self._waiting: deque[Outgoing] = deque()

    def note(
        self, identity: str, action: str, code: str, *, scope: str | None = None, behind: str | None = None
    ) -> None:
        """Count one refusal. Returns at once. ``action`` is a route or a command's type, never text that a client may make up."""
        self._turn()
        kind = _Kind(
            identity[:MAX_LABEL],
            behind and behind[:MAX_LABEL],
            action[:MAX_LABEL],
            code[:MAX_LABEL],
            scope and scope[:MAX_LABEL],
        )
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = _Kind(OTHERS, None, OTHERS, code[:MAX_LABEL], None)
        self._counts[kind] += 1

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish each minute's counts when it is over, and the last ones at the end. Outages of the broker are waited out."""
        while not stopping.is_set():
            self._turn()
            pause_s = CHECK_EVERY_S if await self._publish() else RETRY_AFTER_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stopping.wait()
        await self.flush()

    async def flush(self) -> None:
        """Publish what has been counted so far, within LAST_DEADLINE_S."""
        self._close_minute()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_DEADLINE_S):
                await self._publish()
        if self._waiting:
            log.warning("%d messages about refusals could not be published", len(self._waiting))

    def _turn(self) -> None:
        """Begin the next minute, if it has come."""
        if _minute(self._now()) != self._minute:
            self._close_minute()

    def _close_minute(self) -> None:
        counts, minute = self._counts, self._minute
        self._counts, self._minute = Counter(), _minute(self._now())
        for kind, count in counts.items():
            self._waiting.append(self._message(kind, count, minute))
        dropped = 0
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            dropped += 1
        if dropped:
            log.error("%d messages about refusals were dropped: the broker has been unavailable for too long", dropped)

    async def _publish(self) -> bool:
        """Whether all that waits has been published."""
        while self._waiting:
            try:
                await self._publisher.publish(self._waiting[0])
            except BrokerError as error:
                log.debug("refusals wait for the broker: %s", reason(error))
                return False
            self._waiting.popleft()
        return True

    def _message(self, kind: _Kind, count: int, minute: datetime) -> Outgoing:
        """The same message however often it is published: its id is made once."""
        denied = Request[Denied](
            id=f"denied/{self._instance}/{uuid4().hex}",
            source=f"tidemark/{self._service}",
            type=DENIED,
            time=self._now(),
            data=Denied(
                service=self._service,
                identity=kind.identity or ANONYMOUS,
                behind=kind.behind,
                action=kind.action or OTHERS,
                code=kind.code or OTHERS,
                scope=kind.scope,
                minute=minute,
                count=count,
            ),
        )
        key, body = topology.report_key(self._service, "denied"), denied.model_dump_json(exclude_none=True).encode()
        return Outgoing(topology.CHANGES, key, body, CONTENT_TYPE, type=DENIED)


def _minute(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)
