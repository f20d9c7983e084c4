"""Replies are sent to reply queues only, whatever a message's ``reply_to`` names.

A reply queue is named by the broker (``amq.gen-…``), is RabbitMQ's direct reply-to (``amq.rabbitmq.reply-to.…``), or has a name that
begins with ``reply.`` or ``replies.``. Of Tidemark's own queues only ``replies.processes`` is one, which ignores outcomes of commands that
no process has sent: a reply in a projector's lane, or among operators' requests, would be misread. The request is processed nevertheless;
only the reply is not sent, and the log reports it.
"""

import logging
import time
from typing import Final

log: Final = logging.getLogger(__name__)

PREFIXES: Final = ("amq.gen-", "amq.rabbitmq.reply-to.", "reply.", "replies.")
LOG_EVERY_S: Final = 60.0


class _Unsent:
    count: int = 0
    """Replies not sent since the last log message about it."""
    logged_at: float = float("-inf")


def is_reply_queue(name: str) -> bool:
    return name.startswith(PREFIXES)


def reply_queue(reply_to: str) -> str | None:
    """The queue for the reply; None: send none. Other names are logged, at most once a minute, with a count."""
    if not reply_to or is_reply_queue(reply_to):
        return reply_to or None
    _Unsent.count += 1
    if time.monotonic() - _Unsent.logged_at >= LOG_EVERY_S:
        log.warning(
            "%d answers were not sent: their reply_to, the last one %r, is no reply queue (%s)",
            _Unsent.count,
            reply_to[:100],
            ", ".join(f"{prefix}…" for prefix in PREFIXES),
        )
        _Unsent.count, _Unsent.logged_at = 0, time.monotonic()
    return None
