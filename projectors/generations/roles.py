"""The role of a generation in this process: decides whether its failures are published, and when missing events are requested.

BUILDING ──history applied──▶ FOLLOWING ──activate──▶ ACTIVE ──another is activated──▶ FOLLOWING
"""

from enum import StrEnum


class Role(StrEnum):
    ACTIVE = "active"
    """It is read: a failing event goes through the delay tiers and becomes a dead letter, for operators."""
    FOLLOWING = "following"
    """It is complete but not read: a failing event is retried by resends alone, without a dead letter."""
    BUILDING = "building"
    """The same, and history is still being applied: events missing before a live one are not requested, because history brings them."""

    @property
    def is_read(self) -> bool:
        return self is Role.ACTIVE

    @property
    def awaits_history(self) -> bool:
        return self is Role.BUILDING
