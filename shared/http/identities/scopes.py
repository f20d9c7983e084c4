"""Scopes: what a credential may do. ``<family>:<action>``, and wildcards in what is granted, never in what is needed.

queries:orders              exactly this
commands:orders.*           every command of one context
commands:*                  the whole family
*                           everything, what is added later included
"""

from collections.abc import Collection
from typing import Final

EVERYTHING: Final = "*"


def allows(granted: Collection[str], needed: str) -> bool:
    """Whether one of the granted scopes is, or stands for, the needed one."""
    if needed in granted or EVERYTHING in granted:
        return True
    family, _, action = needed.partition(":")
    if f"{family}:*" in granted:
        return True
    prefix = action
    while "." in prefix:
        prefix = prefix.rpartition(".")[0]
        if f"{family}:{prefix}.*" in granted:
            return True
    return False
