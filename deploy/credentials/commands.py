"""``tidemark credentials``: passwords of the deployables at their servers."""

from typing import Annotated, Final

import typer

from deploy.cli import operator_options, screen
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.credentials.accounts import Account, Server, accounts
from deploy.credentials.rotation import RotationError
from deploy.credentials.rotation import rotate as rotate_accounts
from deploy.servers.accounts.urls import ACCOUNTS
from shared.runtime.setting_values import SettingError

app = typer.Typer(
    help="""Passwords of the deployables at PostgreSQL, RabbitMQ and Redis, where their URLs are in files.

    `TIDEMARK_WORKER_WRITE_DB_URL_FILE` names the file that the worker reads as `TIDEMARK_WRITE_DB_URL_FILE`. Deployables read it again for
    each connection: nothing is restarted, and open connections go on.

    \b
    tidemark credentials list
    tidemark credentials rotate worker query --reason "quarterly"
    tidemark credentials rotate --all --server postgresql

    Others: `tidemark keys rotate` (API keys), `tidemark services rotate` (services on the bus).
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

ServerOption = Annotated[Server | None, typer.Option("--server", help="Only at this kind of server.")]
OUT_OF_FILES: Final = "no URL of {} is in a file: set TIDEMARK_<DEPLOYABLE>_<SETTING>_FILE to the files that they read"


@app.command("list")
def list_accounts(output: OutputOption = Output.TABLE) -> None:
    """The accounts that `rotate` can give a new password: whose URLs are in files."""
    _show(_found(None, None), output)


@app.command()
def rotate(
    names: Annotated[list[str] | None, typer.Argument(metavar="[DEPLOYABLE]...", help="Whose passwords.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of all deployables.")] = False,
    server: ServerOption = None,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give deployables new passwords, in their files and at the servers. Exit code 1: a server did not take one."""
    if bool(names) is every:
        raise fail("name deployables, or use --all", WRONG_USE)
    if unknown := [name for name in names or () if name not in ACCOUNTS]:
        raise fail(f"there is no deployable {unknown[0]!r}: {', '.join(ACCOUNTS)}", WRONG_USE)
    asked = operator_options.reasoned(reason, actor)
    found = _found(names or None, server)
    try:
        done = run(rotate_accounts(settings(), found, actor=asked.actor, reason=asked.reason))
    except RotationError as error:
        raise fail(str(error), NEGATIVE) from error
    _show(done, output)
    if output is Output.TABLE:
        print("they take them up with their next connections; open ones go on")


def _found(names: list[str] | None, server: Server | None) -> list[Account]:
    settings()  # of a running `tidemark up`, too
    try:
        found = accounts(names, server)
    except SettingError as error:
        raise fail(str(error), WRONG_USE) from error
    if not found:
        raise fail(OUT_OF_FILES.format(", ".join(names or ["a deployable"])), WRONG_USE)
    return found


def _show(found: list[Account], output: Output) -> None:
    rows = [
        {
            "deployable": each.deployable,
            "server": each.server.value,
            "user": each.user,
            "address": each.address,
            "files": [str(file) for file in each.urls],
        }
        for each in found
    ]
    if output is Output.JSON:
        screen.print_json({"items": rows})
        return
    table = screen.table("deployable", "server", "user", "address", "files")
    for each in found:
        files = "\n".join(map(str, each.urls))
        table.add_row(*screen.cells(each.deployable, each.server.value, each.user, each.address, files))
    screen.console().print(table)
