"""The retry policy: pure. Decides, after each failed attempt at an event, whether and when it is tried again.

attempt 1, 2, … of an event ──▶ RetryLater(tier, delay)        while there are tiers left
                           ├──▶ RetryLater(None, delay)        without limit: a type that only newer code knows; no copy waits in a queue
                           └──▶ GiveUp                         the stream is dead until an operator acts

The delay after attempt n at an event of an unknown type is min(UNKNOWN_FIRST · 2ⁿ⁻¹, UNKNOWN_MAX).
"""

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import PurePath
from typing import Final

from projectors.generations.roles import Role
from projectors.stores.port import UNREPORTED, Hold, HoldStatus, Position

OWN_PACKAGES: Final = frozenset({"projectors", "shared", "command_service", "query_service"})
RESEND_AFTER: Final = timedelta(seconds=2)
"""How long a gap may stay before a resend is requested again; a retry copy has its delay plus this."""
HISTORY_AFTER: Final = timedelta(minutes=2)
"""The same for a gap that history will fill."""

LETTER_AFTER: Final = timedelta(seconds=30)
"""How long the letter of a dead event may remain unconfirmed before a resend of the event is requested, which makes another letter."""

_VARYING: Final = re.compile(r"0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\"")


UNKNOWN_FIRST: Final = timedelta(seconds=10)
UNKNOWN_MAX: Final = timedelta(seconds=60)
LETTER_EVERY: Final = 12
"""An event of an unknown type gets a dead letter after every LETTER_EVERY attempts, some ten minutes apart, so that an operator sees it."""


KEY_MISSING: Final = "key-missing"
"""The reason of an event whose personal data are sealed under a key that the key database does not have."""


class Remedy(Enum):
    """What may make a failed event succeed."""

    TIME = auto()
    DEPLOYMENT = auto()
    """The deployment of newer code, which knows its type; or of the key that it was sealed under."""
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class RetryLater:
    """``tier``: where a copy of the event waits; None: no copy waits, and a resend is requested when the delay has passed."""

    tier: str | None
    delay: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    pass


RetryDecision = RetryLater | GiveUp


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an event could not be applied, in a form that can be stored and compared."""

    reason: str
    """Stable, kebab-case: projection-failed, unknown-type, undecodable-event."""
    exception: str
    fingerprint: str
    """Equal for failures with the same cause: exception type, innermost frame of Tidemark's own code, message without its values."""
    trace: str


def next_attempt(attempts: int, tiers: Sequence[tuple[str, int]], remedy: Remedy = Remedy.TIME) -> RetryDecision:
    """``attempts``: how many times the event has failed so far."""
    match remedy:
        case Remedy.DEPLOYMENT:
            return RetryLater(None, min(UNKNOWN_FIRST * 2 ** min(attempts - 1, 10), UNKNOWN_MAX))
        case Remedy.TIME if attempts <= len(tiers):
            tier, delay_ms = tiers[attempts - 1]
            return RetryLater(tier, timedelta(milliseconds=delay_ms))
        case _:
            return GiveUp()


def failure_of(error: BaseException, reason: str) -> Failure:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own_code(frame.filename)]
    place = f"{PurePath(frames[-1].filename).name}:{frames[-1].name}" if frames else "-"
    message = str(error)
    normal = _VARYING.sub("?", message)[:200]
    name = type(error).__name__
    trace = "".join(traceback.format_exception(error))
    return Failure(reason, f"{name}: {message}"[:2000] if message else name, f"{name}|{place}|{normal}", trace)


def count_attempts(before: Hold | None, version: int) -> int:
    """How many times event ``version`` has failed, this failure included; ``before``: the stream's hold until now. A gap has 0."""
    return before.attempts + 1 if before is not None and before.version == version else 1


def failure_hold(
    position: Position,
    version: int,
    seen: int,
    failure: Failure,
    decision: RetryDecision,
    now: datetime,
    *,
    role: Role = Role.ACTIVE,
) -> Hold:
    """The hold of a stream whose event ``version`` has just failed."""
    before = position.hold
    again = before is not None and before.version == version and before.status is not HoldStatus.GAP
    retry = isinstance(decision, RetryLater)
    return Hold(
        status=HoldStatus.RETRYING if retry else HoldStatus.DEAD,
        version=version,
        seen=max(seen, before.seen if before is not None else 0, version),
        attempts=count_attempts(before, version),
        reason=failure.reason,
        exception=failure.exception,
        fingerprint=failure.fingerprint,
        first_failed_at=before.first_failed_at if again and before is not None else now,
        last_failed_at=now,
        due_at=_due_at(decision, now, role),
    )


def gap_hold(applied: int, seen: int, now: datetime, *, after: timedelta = RESEND_AFTER) -> Hold:
    """The hold of a stream of which ``seen`` has arrived and ``applied + 1`` has not: a resend is requested (again) ``after`` this time."""
    return Hold(
        status=HoldStatus.GAP,
        version=applied + 1,
        seen=seen,
        attempts=0,
        reason="gap",
        exception="",
        fingerprint="",
        first_failed_at=now,
        last_failed_at=now,
        due_at=now + after,
    )


def _due_at(decision: RetryDecision, now: datetime, role: Role) -> datetime | None:
    if isinstance(decision, RetryLater):
        return now + decision.delay + RESEND_AFTER
    return now + LETTER_AFTER if role.is_read else UNREPORTED


def _is_own_code(filename: str) -> bool:
    return bool(OWN_PACKAGES & set(PurePath(filename).parts)) and "site-packages" not in filename
