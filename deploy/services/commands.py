"""``tidemark services``: services that send commands over RabbitMQ."""

import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from deploy.cli import operator_options, screen
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.private_file import write_private
from deploy.services import store
from shared.contracts.registry import COMMANDS
from shared.http.identities.identity import is_reserved
from shared.messaging.access import may_send
from shared.runtime.settings import MissingSettingError, Settings

app = typer.Typer(
    help="""Services that send commands over RabbitMQ: a user of the broker for each, which may send what you say and nothing else.

    It publishes to the exchange `commands` with the types as routing keys, declares reply queues of its own (named by the broker, or
    reply.NAME.…), and reads the rejections of its types at `outcomes`. Its commands carry the AMQP property user-id; their source is its
    name, or begins with it and a slash.

    \b
    tidemark services create shop --may 'orders.*' --may customers.register-customer
    tidemark services rotate shop --to /run/secrets/shop-rabbitmq-url
    tidemark services revoke shop --reason "replaced"
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,59}")
RESERVED: Final = ("tidemark", "guest")

T = TypeVar("T")

Name = Annotated[str, typer.Argument(help="The service's name: lower-case letters, digits and -, at most 60.")]
To = Annotated[
    Path | None, typer.Option("--to", help="Write its URL to this file, for its owner alone, instead of printing it.")
]


@app.command()
def create(
    name: Name,
    may: Annotated[
        list[str],
        typer.Option(
            help="Types of commands that it may send: orders.place-order, orders.*, or *. No wildcard stands for privacy.erase-subject."
        ),
    ],
    to: To = None,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create it, and print its URL with its password, once. Exit code 1: there is a service or user of this name."""
    if not _NAME.fullmatch(name) or name.startswith(RESERVED) or is_reserved(name):
        raise fail(
            f"NAME: {name!r} cannot be a service's: lower-case letters, digits and -, and none of Tidemark's own",
            WRONG_USE,
        )
    for pattern in may:
        if not any(may_send([pattern], command_type) for command_type in COMMANDS):
            raise fail(f"--may: no command has the type {pattern!r}; `tidemark contracts export` lists them", WRONG_USE)
    asked = operator_options.reasoned(reason, actor)
    types = list(dict.fromkeys(may))
    _hand_over(
        _done(lambda found: store.create(found, name, types, actor=asked.actor, reason=asked.reason)), to, output
    )


@app.command("list")
def list_services(output: OutputOption = Output.TABLE) -> None:
    """All services, and what they may send."""
    found = _done(store.listed)
    if output is Output.JSON:
        times = ("created_at", "changed_at")
        items = [{key: value.isoformat() if key in times else value for key, value in one.items()} for one in found]
        screen.print_json({"items": items})
        return
    table = screen.table("name", "may send", "created", "by", "user")
    for one in found:
        user = {True: "yes", False: "missing", None: "?"}[one["user"]]
        created = screen.format_time(one["created_at"])
        table.add_row(*screen.cells(one["name"], " ".join(one["may"]), created, one["created_by"], user))
    screen.console().print(table if found else "there are no services")


@app.command()
def rotate(
    name: Name,
    to: To = None,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give it a new password. Open connections go on; the next one needs the new password. Exit code 1: there is no such service."""
    asked = operator_options.reasoned(reason, actor)
    _hand_over(_done(lambda found: store.rotate(found, name, actor=asked.actor, reason=asked.reason)), to, output)


@app.command()
def revoke(name: Name, reason: operator_options.Reason = "", actor: operator_options.ActorOption = None) -> None:
    """Delete its user, which closes its connections; its commands are refused from then on. Exit code 1: no such service."""
    asked = operator_options.reasoned(reason, actor)
    _done(lambda found: store.revoke(found, name, actor=asked.actor, reason=asked.reason))
    print(f"{name} is revoked")


def _done(step: Callable[[Settings], Awaitable[T]]) -> T:
    async def work() -> T:
        return await step(settings())

    try:
        return run(work())
    except MissingSettingError as error:
        raise fail(str(error), WRONG_USE) from error
    except store.ServicesError as error:
        raise fail(str(error), NEGATIVE) from error


def _hand_over(made: store.Service, to: Path | None, output: Output) -> None:
    if to is not None:
        write_private(to, f"{made.url}\n")
    if output is Output.JSON:
        url = {} if to is not None else {"url": made.url}
        screen.print_json({"name": made.name, "may": list(made.may), "source": made.name} | url)
        return
    where = f"is in {to}" if to is not None else "is not shown again:"
    print(f"{made.name} may send {_listed(made.may)}; its URL {where}", file=sys.stderr, flush=True)
    if to is None:
        print(made.url)


def _listed(may: Sequence[str]) -> str:
    return ", ".join(map(screen.printable, may))
