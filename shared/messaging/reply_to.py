"""Where answers may go: to reply queues and nowhere else, whatever a message's ``reply_to`` names.

A reply queue is one that the broker has named (``amq.gen-…``), RabbitMQ's direct reply-to (``amq.rabbitmq.reply-to.…``), or one whose
name begins with ``reply.`` or ``replies.``. None of Tidemark's own queues is: an answer in a projector's lane, or among operators'
requests, would be read as what it is not. What is asked for is done all the same; only the answer is not sent, and the log says so.
"""

import logging
import time
from typing import Final

log: Final = logging.getLogger(__name__)

PREFIXES: Final = ("amq.gen-", "amq.rabbitmq.reply-to.", "reply.", "replies.")
LOG_EVERY_S: Final = 60.0


class _Unsent:
    count: int = 0
    """Answers that were not sent since the log last said so."""
    said_at: float = float("-inf")


def is_reply_queue(name: str) -> bool:
    return name.startswith(PREFIXES)


def reply_queue(reply_to: str) -> str | None:
    """Where to send the answer; None: nowhere. A name that is no reply queue's is logged, once a minute at most, with a count."""
    if not reply_to or is_reply_queue(reply_to):
        return reply_to or None
    _Unsent.count += 1
    if time.monotonic() - _Unsent.said_at >= LOG_EVERY_S:
        log.warning(
            "%d answers were not sent: their reply_to, the last one %r, is no reply queue (%s)",
            _Unsent.count,
            reply_to[:100],
            ", ".join(f"{prefix}…" for prefix in PREFIXES),
        )
        _Unsent.count, _Unsent.said_at = 0, time.monotonic()
    return None
