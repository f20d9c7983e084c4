"""Failpoints, for tests and drills only: ``TIDEMARK_FAILPOINT`` names a process, a place in its code, and which visit there kills it.

    TIDEMARK_FAILPOINT=worker:after-commit          the worker, at its first visit
    TIDEMARK_FAILPOINT=summary:before-commit:3      the summary's projector, at its third visit

The process ends at once with EXIT_CODE, as with SIGKILL: nothing is flushed, closed or announced. Without the setting a failpoint
costs one comparison. An invalid setting prevents the process from starting, so that no test passes because of a misspelling.
"""

import os
from enum import StrEnum
from typing import Final

EXIT_CODE: Final = 71


class Failpoint(StrEnum):
    """The failpoints, and the processes that reach them."""

    BEFORE_COMMIT = "before-commit"
    """worker, projectors, processes, dead_letters, archive: all is written, the transaction is open (Redis: not sent yet)."""
    AFTER_COMMIT = "after-commit"
    """worker, projectors, processes, dead_letters, archive: committed; nothing of it is published yet."""
    AFTER_HOLD = "after-hold"
    """projectors: a hold is committed; its retry copy, dead letter or resend request is not published yet."""
    BEFORE_ACK = "before-ack"
    """worker, projectors, processes, dead_letters: everything is published and confirmed; nothing is acknowledged yet."""
    BEFORE_CONFIRM = "before-confirm"
    """relay, processes: a round's messages are sent; no confirm is processed yet."""
    BEFORE_DELETE = "before-delete"
    """relay, processes: a round's messages are confirmed; all its rows are still in the outbox."""
    BETWEEN_PAGES = "between-pages"
    """relay: a page of a resend is sent and confirmed; another page follows."""
    BEFORE_REPLAY = "before-replay"
    """dead_letters: letters of a replay job are marked as sent and committed, but not sent yet."""
    AFTER_REPLAY = "after-replay"
    """dead_letters: letters of a replay job are sent; no result is received yet."""
    BETWEEN_PORTIONS = "between-portions"
    """relay: a batch of a history page is sent and confirmed; another batch, or the end of the page, follows."""
    AFTER_PORTION = "after-portion"
    """projectors: a batch of history is in the new generation; it is not acknowledged yet."""
    BEFORE_SCANNED = "before-scanned"
    """projectors: a page of history is in the new generation; the registry does not record it yet."""
    BETWEEN_TOTALS = "between-totals"
    """projectors: a deferred total is in the new generation (analytics); other totals may follow."""
    BEFORE_SWITCH = "before-switch"
    """projectors: another generation is about to become active."""
    AFTER_KEY = "after-key"
    """relay: the key of a person who is erased is destroyed; this is not recorded yet."""
    AFTER_SWITCH = "after-switch"
    """projectors: another generation is active; this is not announced yet."""


class _Armed:
    place: Failpoint | None = None
    visits_left: int = 0


def arm(process: str, setting: str) -> None:
    """Arm the failpoint that ``setting`` names if it is for ``process``; nothing for another process or an empty setting.

    Raises ValueError, with an explanation, for a malformed setting.
    """
    _Armed.place = None
    if not setting:
        return
    name, _, rest = setting.partition(":")
    place, _, visit = rest.partition(":")
    if place not in set(Failpoint) or not (visit or "1").isdecimal() or int(visit or 1) < 1:
        known = ", ".join(Failpoint)
        raise ValueError(f"TIDEMARK_FAILPOINT is {setting!r}, not <process>:<place>[:<visit>], place one of {known}")
    if name == process:
        _Armed.place, _Armed.visits_left = Failpoint(place), int(visit or 1)


def reached(place: Failpoint) -> None:
    """Visit a failpoint. Ends the process, and does not return, if it is armed for this visit."""
    if place is not _Armed.place:
        return
    _Armed.visits_left -= 1
    if _Armed.visits_left == 0:
        os.write(2, f"died on purpose: {place}\n".encode())
        os._exit(EXIT_CODE)
