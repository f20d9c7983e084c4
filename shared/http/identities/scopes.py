"""Scopes: what a credential may do. ``<family>:<action>``, and wildcards in what is granted, never in what is needed.

    queries:orders              exactly this
    commands:orders.*           every command of one context
    commands:*                  the whole family
    *                           everything, what is added later included

``FAMILIES`` is the one table of all that there are; `tidemark keys scopes` prints it.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shared.contracts.privacy import ERASE_SUBJECT
from shared.contracts.registry import COMMANDS
from shared.contracts.registry import NAMES as CONTEXTS

EVERYTHING: Final = "*"
ANY_SOURCE: Final = re.compile(r"[!-~]{1,500}")
"""A scope is one word of visible ASCII, as in the ``scope`` claim of a token (RFC 6749 §3.3)."""


@dataclass(frozen=True, slots=True)
class Family:
    """Scopes that begin alike. ``actions``: action → what it allows; ``free``: what else an action may be, in words."""

    actions: Mapping[str, str]
    free: str = ""
    free_meaning: str = ""


def _of_context(context: str) -> str:
    return f"answers about {context}, whichever read model they come from; their live updates"


FAMILIES: Final[Mapping[str, Family]] = {
    "commands": Family(
        {
            **{f"{context}.*": f"send every command of {context}" for context in CONTEXTS},
            **{command: f"send {command}" for command in COMMANDS},
        }
    ),
    "queries": Family(
        {
            **{context: _of_context(context) for context in CONTEXTS},
            "analytics": "figures over all orders: revenue, top products, customers, categories, segments, the sales report",
            "freshness": "how fresh each projection is, and the state of each process",
        }
    ),
    "outcomes": Family({"read": "the outcomes of all senders' commands; those of its own need no scope"}),
    "sources": Family(
        {},
        free="<source>",
        free_meaning="send commands as this source, and see their outcomes; its own subject needs no scope",
    ),
    "scheduled": Family({"act": "list, move and cancel the scheduled commands of all senders; its own need no scope"}),
    "streams": Family({"read": "a stream's state, exactly now, at the command service"}),
    "dead-letters": Family(
        {
            "read": "dead letters without their payloads, and replay jobs",
            "annotate": "say who owns a cause of dead letters, and what is known of it; snooze it",
            "payload": "bodies, headers and stack traces of dead letters: what senders have sent",
            "replay": "replay dead letters; pause, resume and cancel replay jobs",
            "discard": "discard dead letters",
            "edit": "edit dead commands and send them again; each needs the scope of that command, too",
        }
    ),
    "audit": Family({"read": "who did what, when and why"}),
    "projections": Family(
        {
            "read": "the generations of read models, and which version of a stream each read model has",
            "rebuild": "build a new generation of a read model",
            "activate": "activate one, roll back, drop one, and go on in another epoch of the write database",
        }
    ),
    "checks": Family(
        {
            "read": "verifications and comparisons: their progress and what they have found",
            "run": "start and cancel verifications and comparisons",
            "heal": "have a verification send again what read models lack",
        }
    ),
    "operations": Family(
        {
            "read": "the state of the whole system: what is lost, held, growing, late or stopped",
            "read-only": "forbid operators' acts over HTTP for a time, and allow them again",
            "alerts": "report alerts, as Alertmanager does, for the audit",
        }
    ),
    "processes": Family(
        {"read": "processes: their state, inputs, timers and commands", "act": "retry, cancel and migrate processes"}
    ),
    "keys": Family({"admin": "create and revoke API keys"}),
    "erasure": Family({"request": "have a person's data erased"}),
}

ERASURE: Final = "erasure:request"
"""What `privacy.erase-subject` needs."""
OPERATOR: Final = frozenset(
    {
        *("queries:*", "commands:*", "outcomes:read", "scheduled:act", "streams:read", "dead-letters:*", "audit:read"),
        *("projections:*", "processes:*", "checks:*", "operations:read"),
    }
)
"""What the key in ``TIDEMARK_OPERATOR_KEY`` may do."""


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of scopes for a person. A key has the scopes, not the name: what a role means later changes no key."""

    meaning: str
    scopes: frozenset[str]


_VIEWER: Final = frozenset(
    {
        *("queries:*", "streams:read", "dead-letters:read", "audit:read", "projections:read", "processes:read"),
        *("checks:read", "operations:read"),
    }
)
_OPERATOR: Final = _VIEWER | {
    *(
        "commands:*",
        "outcomes:read",
        "scheduled:act",
        "dead-letters:payload",
        "dead-letters:annotate",
        "dead-letters:replay",
    ),
    *("dead-letters:edit", "projections:rebuild", "processes:act", "checks:run", "checks:heal"),
}
_APPROVER: Final = _OPERATOR | {"dead-letters:discard", "projections:activate"}
ROLES: Final[Mapping[str, Role]] = {
    "viewer": Role("sees everything but what senders have sent", _VIEWER),
    "operator": Role("sends commands, replays, edits, rebuilds, verifies", _OPERATOR),
    "approver": Role("also discards, activates generations and drops them", _APPROVER),
    "admin": Role("everything", frozenset({EVERYTHING})),
}
"""The roles of persons, each with all that the one before it has."""


def role_of(granted: Collection[str]) -> str | None:
    """The highest role all of whose scopes are granted; None: not even the lowest one's are."""
    for name, role in reversed(list(ROLES.items())):
        if all(allows(granted, scope) for scope in role.scopes):
            return name
    return None


class UnknownScopeError(ValueError):
    """There is no such scope; the message says what there is."""


def allows(granted: Collection[str], needed: str) -> bool:
    """Whether one of the granted scopes is the needed one, or a wildcard for it. A needed scope has no wildcards."""
    if needed in granted or EVERYTHING in granted:
        return True
    family, _, action = needed.partition(":")
    context, dot, _ = action.partition(".")
    return f"{family}:*" in granted or (bool(dot) and family == "commands" and f"{family}:{context}.*" in granted)


def of_command(command_type: str) -> str:
    """The scope that sending a command needs: no scope of commands, whatever its wildcard, has anybody erased."""
    return ERASURE if command_type == ERASE_SUBJECT else f"commands:{command_type}"


def checked(scope: str) -> str:
    """The scope, if it may be granted. Raises UnknownScopeError."""
    if scope == EVERYTHING:
        return scope
    name, colon, action = scope.partition(":")
    family = FAMILIES.get(name)
    if not colon or family is None:
        raise UnknownScopeError(f"there is no scope {scope[:100]!r}: they begin with {', '.join(FAMILIES)} and a colon")
    if action == "*" or action in family.actions or (family.free and ANY_SOURCE.fullmatch(action)):
        return scope
    known = ", ".join([*family.actions, *filter(None, [family.free])])
    raise UnknownScopeError(f"there is no scope {scope[:100]!r}: {name} has {known}")


def described_scope(scope: str) -> str:
    """The scope as the audit names it: without what a client has made up."""
    name = scope.partition(":")[0]
    free = FAMILIES[name].free if name in FAMILIES else ""
    return f"{name}:{free}" if free else scope


def known(scopes: Collection[str]) -> frozenset[str]:
    """Those of the scopes that there are: a token's others are for other services."""
    return frozenset(scope for scope in scopes if _exists(scope))


def described() -> Iterator[tuple[str, str]]:
    """Every scope and what it allows; commands by context, not one by one."""
    yield EVERYTHING, "everything, what is added later included"
    for name, family in FAMILIES.items():
        yield f"{name}:*", f"all of {name}"
        for action, meaning in family.actions.items():
            if name != "commands" or action.endswith(".*"):
                yield f"{name}:{action}", meaning
        if family.free:
            yield f"{name}:{family.free}", family.free_meaning
    yield "commands:<context>.<command>", "send one command, e.g. commands:orders.pay-order"


def _exists(scope: str) -> bool:
    try:
        checked(scope)
    except UnknownScopeError:
        return False
    return True
