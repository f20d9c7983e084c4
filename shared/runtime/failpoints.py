"""Dying on purpose at a named place, for tests and drills only: ``TIDEMARK_FAILPOINT`` says which process, where, and at which visit.

    TIDEMARK_FAILPOINT=worker:after-commit          the worker, the first time it comes by
    TIDEMARK_FAILPOINT=summary:before-commit:3      the summary's projector, the third time

The process ends at once, with EXIT_CODE, as by SIGKILL: nothing is flushed, closed or said to anybody. Without the setting a place
costs one comparison. A setting that names no place keeps the process from starting, so that no test passes by a spelling mistake.
"""

import os
from enum import StrEnum
from typing import Final

EXIT_CODE: Final = 71


class Failpoint(StrEnum):
    """The places, and the processes that come by them."""

    BEFORE_COMMIT = "before-commit"
    """worker, projectors, dead_letters: everything is written, and the transaction is still open (Redis: the script not yet sent)."""
    AFTER_COMMIT = "after-commit"
    """worker, projectors, dead_letters: committed, and nothing of it has been published."""
    AFTER_HOLD = "after-hold"
    """projectors: a hold has been committed; its retry copy, dead letter or request for a resend has not been published."""
    BEFORE_ACK = "before-ack"
    """worker, projectors, dead_letters: everything has been published and confirmed, and nothing acknowledged."""
    BEFORE_CONFIRM = "before-confirm"
    """relay: a round's messages are with the broker or under way, and no confirm has been made use of."""
    BEFORE_DELETE = "before-delete"
    """relay: a round's messages have been confirmed, and all its rows are still in the outbox."""
    BETWEEN_PAGES = "between-pages"
    """relay: a page of a resend has been sent and confirmed, and another one is to follow."""
    BEFORE_REPLAY = "before-replay"
    """dead_letters: letters of a replay job are marked as sent, committed, and have not been sent."""
    AFTER_REPLAY = "after-replay"
    """dead_letters: letters of a replay job have been sent, and no answer has been seen."""
    BETWEEN_PORTIONS = "between-portions"
    """relay: a part of a page of history has been sent and confirmed, and another one, or the page's end, is to follow."""
    AFTER_PORTION = "after-portion"
    """projectors: a part of history is in the new generation, and has not been acknowledged."""
    BEFORE_SCANNED = "before-scanned"
    """projectors: a page of history is in the new generation, and the registry does not know."""
    BETWEEN_TOTALS = "between-totals"
    """projectors: a total that was left for later is in the new generation (analytics), and others may be to follow."""
    BEFORE_SWITCH = "before-switch"
    """projectors: another generation is to be active, and is not yet."""
    AFTER_SWITCH = "after-switch"
    """projectors: another generation is active, and nobody has been told."""


class _Armed:
    place: Failpoint | None = None
    visits_left: int = 0


def arm(process: str, setting: str) -> None:
    """Have this process, called ``process``, die where ``setting`` says; nothing where it names another process, or is empty.

    Raises ValueError, which says what is wrong, for a setting that cannot be understood.
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
    """Does not return when it is here that the process shall die, and now."""
    if place is not _Armed.place:
        return
    _Armed.visits_left -= 1
    if _Armed.visits_left == 0:
        os.write(2, f"died on purpose: {place}\n".encode())
        os._exit(EXIT_CODE)
