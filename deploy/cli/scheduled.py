"""``tidemark scheduled``: commands that wait for their time. A change is a message to the worker, like the command itself."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import asyncpg
import typer
from pydantic import BaseModel, Field

from command_service.handling.event_store import OUTCOME, SOURCES
from command_service.handling.parsing import CommandKey
from command_service.scheduling.scheduled_commands import ScheduledCommand, page, scheduled
from deploy.cli import operator_options, screen
from deploy.cli.terminal import UNAVAILABLE, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.cli.write_database import write_database
from deploy.errors import ServerUnavailableError
from shared.contracts.values import Actor, Timestamp
from shared.messages.control import Reason
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.runtime.reasons import reason as words_of
from shared.runtime.settings import Settings

WAIT_S: Final = 10.0
POLL_S: Final = 0.05
NOT_SCHEDULED: Final = 1

app = typer.Typer(
    help="""Commands that wait for their time: those that were sent with notbefore.

    \b
    tidemark scheduled list
    tidemark scheduled reschedule pay-o-1 2026-12-24T18:00:00Z
    tidemark scheduled cancel pay-o-1 --reason "the customer called"
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

CommandId = Annotated[str, typer.Argument(help="The command's id.")]
SourceOption = Annotated[
    str | None, typer.Option(help="The service that sent it; needed if several have sent a command with this id.")
]


class _Act(BaseModel):
    actor: Actor
    reason: Reason


class _Cancellation(_Act):
    reason: Annotated[Reason, Field(min_length=1)]


class _Time(BaseModel):
    notbefore: Timestamp


@app.command("list")
def list_commands(
    source: Annotated[str | None, typer.Option(help="Only those of this service.")] = None,
    command_type: Annotated[str | None, typer.Option("--type", help="Only those of this type.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    output: OutputOption = Output.TABLE,
) -> None:
    """Those that are due next come first."""
    found = run(_list(settings(), source, command_type, limit))
    if output is Output.JSON:
        screen.print_json({"items": [_as_json(one) for one in found]})
        return
    table = screen.table("due", "id", "source", "type", "subject")
    for one in found:
        due = screen.format_time(one.due_at)
        table.add_row(*screen.cells(due, one.command_id, one.source, one.command_type, one.subject or ""))
    screen.console().print(table if found else "no command waits for its time")


@app.command()
def cancel(
    command_id: CommandId,
    reason: operator_options.Reason,
    source: SourceOption = None,
    actor: operator_options.ActorOption = None,
) -> None:
    """Refuse it before its time: its outcome is `cancelled`, and its sender gets it. Exit code 1: it is not scheduled (any more)."""
    act = operator_options.validated(
        _Cancellation, {"reason": reason.strip(), "actor": operator_options.actor_name(actor)}
    )
    outcome = run(
        _change(
            settings(),
            command_id,
            source,
            lambda one: (one.asked("cancel", act.actor, act.reason), one.cancelled(act.actor, act.reason)),
        )
    )
    if outcome.get("code") != "cancelled":
        raise fail(f"{command_id} was decided before it could be cancelled", NOT_SCHEDULED)
    print(f"{command_id} is cancelled")


@app.command()
def reschedule(
    command_id: CommandId,
    notbefore: Annotated[str, typer.Argument(help="The new time, RFC 3339; if it has passed, it is decided at once.")],
    source: SourceOption = None,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
) -> None:
    """Have it decided at another time. Exit code 1: it is not scheduled (any more)."""
    time = operator_options.validated(_Time, {"notbefore": notbefore}, {"notbefore": "NOTBEFORE"}).notbefore
    act = operator_options.validated(_Act, {"reason": reason.strip(), "actor": operator_options.actor_name(actor)})
    outcome = run(
        _change(
            settings(),
            command_id,
            source,
            lambda one: (
                one.asked("reschedule", act.actor, act.reason, notbefore=time.isoformat()),
                one.rescheduled(time),
            ),
            until=time,
        )
    )
    print(f"{command_id} has been decided" if outcome else f"{command_id} is due at {time.isoformat()}")


async def _list(settings: Settings, source: str | None, command_type: str | None, limit: int) -> list[ScheduledCommand]:
    async with write_database(settings) as connection:
        first = (datetime(1, 1, 1, tzinfo=UTC), 0)
        return await page(connection, first, limit, source=source, command_type=command_type)


async def _change(
    settings: Settings,
    command_id: str,
    source: str | None,
    messages: Callable[[ScheduledCommand], Sequence[Outgoing]],
    *,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Send the messages about the command, in their order; return the data of its outcome, or nothing once it is due at ``until``."""
    rabbitmq_url = settings.require("rabbitmq_url")
    async with write_database(settings) as connection:
        key = await _key(connection, command_id, source)
        found = await scheduled(connection, key)
        if found is None:
            raise fail(f"no scheduled command {command_id} waits for its time", NOT_SCHEDULED)
        publisher = Publisher(rabbitmq_url, "tidemark cli")
        try:
            for message in messages(found):
                await publisher.publish(message)
        except BrokerError as error:
            raise ServerUnavailableError(f"RabbitMQ: {words_of(error)}") from error
        finally:
            await publisher.close()
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    row = await connection.fetchrow(OUTCOME, found.command_id, found.source)
                    if row is not None:
                        data: dict[str, Any] = json.loads(row["outcome"])["data"]
                        return data
                    now = await scheduled(connection, key)
                    if until is not None and now is not None and now.due_at == until:
                        return {}
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise fail(
                f"the broker has the request, and the worker has not handled it in {WAIT_S:.0f} s: is it running?",
                UNAVAILABLE,
            ) from error


async def _key(connection: asyncpg.Connection, command_id: str, source: str | None) -> CommandKey:
    if source is not None:
        return source, command_id
    sources = [row["source"] for row in await connection.fetch(SOURCES, command_id)]
    if len(sources) > 1:
        raise fail("several services have sent a command with this id: say which one with --source", WRONG_USE)
    return (sources or [""])[0], command_id


def _as_json(one: ScheduledCommand) -> dict[str, Any]:
    return {
        "command_id": one.command_id,
        "source": one.source,
        "command_type": one.command_type,
        "subject": one.subject,
        "notbefore": one.due_at.isoformat(),
        "scheduled_at": one.scheduled_at.isoformat(),
    }
