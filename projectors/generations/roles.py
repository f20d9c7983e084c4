"""What a generation of a projection is to this process: which decides who hears of its failures, and how soon it asks for what it misses.

BUILDING ──history applied──▶ FOLLOWING ──activate──▶ ACTIVE ──another is activated──▶ FOLLOWING
"""

from enum import StrEnum


class Role(StrEnum):
    ACTIVE = "active"
    """It is read: what fails there goes through the delay tiers and becomes a dead letter, for operators."""
    FOLLOWING = "following"
    """It has everything, and nobody reads it: what fails there is tried again by resends alone, and no letter is written of it."""
    BUILDING = "building"
    """The same, and history is still being applied: what a live event misses is not asked for, because history brings it."""

    @property
    def is_read(self) -> bool:
        return self is Role.ACTIVE

    @property
    def awaits_history(self) -> bool:
        return self is Role.BUILDING
