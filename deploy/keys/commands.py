"""``tidemark keys``: API keys of the HTTP services."""

import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar

import asyncpg
import typer

from deploy.cli import operator_options, screen
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.keys import store
from shared.contracts.values import Actor
from shared.http.identities import scopes as scope_table
from shared.http.identities.identity import is_reserved
from shared.http.identities.key_cache import CURRENT_S

app = typer.Typer(
    help="""API keys of the HTTP services: who may do what.

    A key belongs to a subject, which is the actor in histories and audits, and has scopes. It is shown once; only a hash of it is stored.
    A subject has at most two live keys, so that one can replace the other without a gap.

    \b
    tidemark keys create shop --scope 'commands:orders.*' --scope queries:orders
    tidemark keys create ann --role operator     # viewer, operator, approver, admin
    tidemark keys rotate 4fz0r1c9q2xk            # a new key; the old one is valid for another day
    tidemark keys revoke 4fz0r1c9q2xk --reason "found in a log"
    tidemark keys scopes                         # every scope there is
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_DURATION: Final = re.compile(r"(\d{1,5})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
DEFAULT_LIFETIME: Final = "365d"

T = TypeVar("T")

Lifetime = Annotated[str, typer.Option("--expires", help="When it expires: after 90d, 12h, 30m or 45s, or never.")]
KeyId = Annotated[str, typer.Argument(help="The key's id: the part between the underscores.")]


class _NewKey(operator_options.Reasoned):
    subject: Actor


@app.command()
def create(
    subject: Annotated[str, typer.Argument(help="The service or person that it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do; may be repeated. `tidemark keys scopes` lists them.")
    ] = None,
    role: Annotated[
        str | None, typer.Option(help=f"The scopes of a person's role: {', '.join(scope_table.ROLES)}.")
    ] = None,
    expires: Lifetime = DEFAULT_LIFETIME,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a key and print it, once: the key alone on standard output, all else on standard error. Exit code 1: the subject has two."""
    values = {"subject": subject, "reason": reason, "actor": operator_options.actor_name(actor)}
    asked = operator_options.validated(_NewKey, values, {"subject": "SUBJECT"})
    if is_reserved(asked.subject):
        raise fail(f"SUBJECT: {asked.subject!r} is one of Tidemark's own", WRONG_USE)
    granted = _checked([*_of_role(role), *(scope or ())])
    if not granted:
        raise fail("what it may do is missing: --scope, or --role", WRONG_USE)
    lifetime = _lifetime(expires)
    made = _done(
        lambda connection: store.create(
            connection, asked.subject, granted, lifetime, actor=asked.actor, reason=asked.reason
        )
    )
    _show(made, output)


@app.command("list")
def list_keys(
    subject: Annotated[str | None, typer.Option(help="Only those of this subject.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are revoked or expired.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 1000,
    output: OutputOption = Output.TABLE,
) -> None:
    """Keys by subject, without the keys themselves: nobody can show them again."""
    found = _done(lambda connection: store.listed(connection, subject, limit, everything=everything))
    if output is Output.JSON:
        screen.print_json({"items": [_as_json(one) for one in found]})
        return
    table = screen.table("id", "subject", "state", "expires", "created", "by", "scopes")
    for one in found:
        expires, created = screen.format_time(one["expires_at"]) or "never", screen.format_time(one["created_at"])
        row = (one["id"], one["subject"], one["state"], expires, created, one["created_by"], " ".join(one["scopes"]))
        table.add_row(*screen.cells(*row))
    screen.console().print(table if found else "there are no keys")


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(help="How much longer the old key is valid: 1d, 12h, 30m or 0s.")] = "1d",
    expires: Lifetime = DEFAULT_LIFETIME,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create the key that replaces this one, with the same subject and scopes, and print it once. Exit code 1: no live key has this id."""
    asked = operator_options.reasoned(reason, actor)
    longer, lifetime = _duration("--overlap", overlap), _lifetime(expires)
    made = _done(
        lambda connection: store.rotate(connection, key_id, lifetime, longer, actor=asked.actor, reason=asked.reason)
    )
    _show(made, output)


@app.command()
def revoke(
    key_id: KeyId,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
) -> None:
    """End a key now. The services refuse it within a few seconds. Exit code 1: there is no such key, or it has been revoked before."""
    asked = operator_options.reasoned(reason, actor)
    subject = _done(lambda connection: store.revoke(connection, key_id, actor=asked.actor, reason=asked.reason))
    print(f"{key_id} of {screen.printable(subject)} is revoked; the services refuse it within {CURRENT_S:.0f} s")


@app.command()
def scopes(output: OutputOption = Output.TABLE) -> None:
    """Every scope, and what it allows; and the roles of persons, which are sets of scopes."""
    found = list(scope_table.described())
    if output is Output.JSON:
        roles = [{"role": name, "scopes": sorted(role.scopes)} for name, role in scope_table.ROLES.items()]
        screen.print_json({"items": [{"scope": scope, "allows": allows} for scope, allows in found], "roles": roles})
        return
    table = screen.table("scope", "allows")
    for scope, allows in found:
        table.add_row(*screen.cells(scope, allows))
    screen.console().print(table)
    roles_table = screen.table("role", "who has it", "scopes")
    for name, role in scope_table.ROLES.items():
        roles_table.add_row(*screen.cells(name, role.meaning, " ".join(sorted(role.scopes))))
    screen.console().print(roles_table)


def _done(step: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    async def work() -> T:
        async with store.operations_database(settings()) as connection:
            return await step(connection)

    try:
        return run(work())
    except store.KeysError as error:
        raise fail(str(error), NEGATIVE) from error


def _show(made: store.NewKey, output: Output) -> None:
    if output is Output.JSON:
        screen.print_json(
            {
                "key": str(made.key),
                "id": made.key.id,
                "subject": made.subject,
                "scopes": list(made.scopes),
                "expires_at": made.expires_at and made.expires_at.isoformat(),
                "old_expires_at": made.old_expires_at and made.old_expires_at.isoformat(),
            }
        )
        return
    expiry = f"until {screen.format_time(made.expires_at)}" if made.expires_at else "for ever"
    lines = [f"a key of {screen.printable(made.subject)}, valid {expiry}; it is not shown again:"]
    if made.old_expires_at is not None:
        lines.append(f"the old key is valid until {screen.format_time(made.old_expires_at)}")
    print("\n".join(lines), file=sys.stderr, flush=True)
    print(made.key)


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at")
    return {name: value.isoformat() if name in times and value else value for name, value in row.items()}


def _checked(given: Sequence[str]) -> list[str]:
    try:
        return list(dict.fromkeys(scope_table.checked(scope) for scope in given))
    except scope_table.UnknownScopeError as error:
        raise fail(f"--scope: {error}", WRONG_USE) from error


def _of_role(name: str | None) -> Sequence[str]:
    if name is None:
        return ()
    if name not in scope_table.ROLES:
        raise fail(f"--role: there is no role {name!r}; there are {', '.join(scope_table.ROLES)}", WRONG_USE)
    return sorted(scope_table.ROLES[name].scopes)


def _lifetime(text: str) -> timedelta | None:
    return None if text == "never" else _duration("--expires", text)


def _duration(option: str, text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise fail(f"{option}: {text!r} is no duration: 90d, 12h, 30m or 45s", WRONG_USE)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
