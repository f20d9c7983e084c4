"""What a process reports once is published until the broker has it: that it has started, and with which version; that an epoch has begun.

process ──Reports──▶ [changes] <process>.started, commands.acted ──▶ dead-letter worker ──▶ audit
"""

import asyncio
import logging
import socket
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final
from uuid import uuid4

from shared.messages.changes import STARTED, Started
from shared.messages.control import Request
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 5.0


class Reports:
    """``run`` publishes until cancelled."""

    def __init__(self, publisher: Publisher, *messages: Outgoing) -> None:
        self._publisher = publisher
        self._waiting = deque(messages)
        self._added = asyncio.Event()

    def add(self, message: Outgoing) -> None:
        self._waiting.append(message)
        self._added.set()

    async def run(self) -> None:
        while True:
            self._added.clear()
            failed = False
            while self._waiting and not failed:
                try:
                    await self._publisher.publish(self._waiting[0])
                    self._waiting.popleft()
                except BrokerError as error:
                    failed = True
                    log.debug("a report waits for the broker: %s", reason(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_AFTER_S if failed else None):
                    await self._added.wait()


def started(process: str, build: str) -> Outgoing:
    """That this process has started. ``build``: the setting; empty: what is deployed has no name but its version."""
    own = version("tidemark")
    report = Request[Started](
        id=f"started/{uuid4()}",
        source=f"tidemark/{process}",
        type=STARTED,
        time=datetime.now(UTC),
        data=Started(
            process=process, version=f"{own}+{build}" if build else own, host=socket.gethostname()[:200] or "?"
        ),
    )
    key, body = topology.report_key(process, "started"), report.model_dump_json().encode()
    return Outgoing(topology.CHANGES, key, body, CONTENT_TYPE, type=STARTED)
