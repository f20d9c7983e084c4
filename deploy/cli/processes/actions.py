"""``tidemark processes retry|cancel|compensate|migrate``: requests to the process managers, each for one process, audited."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from deploy.cli import operator_options, screen
from deploy.cli.operator_options import ActorOption, Reason, RequestId
from deploy.cli.processes.store import ProcessDatabase, chosen, open_process_database
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from shared.messages.control import AdoptEpoch
from shared.messages.process_acts import ActName, ActOnProcess, ProcessActed, ProcessRefused
from shared.processes import NAMES, UnknownProcessError, named
from shared.runtime.settings import Settings
from shared.views.generations import FIRST
from shared.views.processes import ProcessStatus

MAX_AT_ONCE = 100_000

Manager = Annotated[
    str, typer.Argument(metavar="NAME", help=f"A process manager: {', '.join(NAMES)}.", show_default=False)
]
ProcessId = Annotated[str, typer.Argument(metavar="ID", help="The process's id.", show_default=False)]
OptionalId = Annotated[str | None, typer.Argument(metavar="[ID]", help="The process's id.", show_default=False)]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")]


def manager_name(name: str) -> str:
    try:
        return named(name).name
    except UnknownProcessError as error:
        raise fail(str(error), WRONG_USE) from error


def retry(
    name: Manager,
    process_id: OptionalId = None,
    all_failed: Annotated[
        bool, typer.Option("--all-failed", help="Every failed process of this process manager.")
    ] = False,
    reason: Reason = "",
    actor: ActorOption = None,
    request_id: RequestId = None,
    timeout: Timeout = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let a failed process decide again what it failed on, and then what has waited behind it, in order.

    \b
    tidemark processes retry fulfilment o-17 --reason "fixed the rounding"
    tidemark processes retry fulfilment --all-failed
    """
    manager = manager_name(name)
    if (process_id is None) is not all_failed:
        raise fail("name one process, or --all-failed", WRONG_USE)
    ids = [process_id] if process_id is not None else run(_failed(manager))
    _act_on(manager, ids, "retry", reason, actor, request_id, timeout, output)


def cancel(
    name: Manager,
    process_id: ProcessId,
    reason: Reason,
    actor: ActorOption = None,
    request_id: RequestId = None,
    timeout: Timeout = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell a process to give up. What that means is its process manager's to decide; what it sends is shown by `show`.

    \b
    tidemark processes cancel fulfilment o-17 --reason "customer called"
    """
    _act_on(manager_name(name), [process_id], "cancel", reason, actor, request_id, timeout, output)


def compensate(
    name: Manager,
    process_id: ProcessId,
    reason: Reason,
    actor: ActorOption = None,
    request_id: RequestId = None,
    timeout: Timeout = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell a process to take back what it has done, also after it is finished."""
    _act_on(manager_name(name), [process_id], "compensate", reason, actor, request_id, timeout, output)


def migrate(
    name: Manager,
    process_id: OptionalId = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    reason: Reason = "",
    actor: ActorOption = None,
    timeout: Timeout = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let unfinished processes go on by the current rules, their state evolved again from their own history. Nothing is emitted.

    A process otherwise keeps the version of the rules that it began with. Exit code 1: some cannot be migrated.

    \b
    tidemark processes migrate fulfilment --dry-run
    tidemark processes migrate fulfilment o-17 --reason "rules of version 2"
    """
    manager = manager_name(name)
    found = run(_migratable(manager, process_id))
    cannot = [one for one in found if one["problem"]]
    if dry_run:
        if output is Output.JSON:
            screen.print_json({"items": found})
        else:
            made = screen.table("process", "changes", "problem")
            for one in found:
                made.add_row(*screen.cells(one["process_id"], ", ".join(one["changes"]), one["problem"] or ""))
            screen.console().print(made if found else "nothing to migrate")
        raise typer.Exit(NEGATIVE if cannot else 0)
    ids = [one["process_id"] for one in found if not one["problem"]]
    _act_on(manager, ids, "migrate", reason, actor, None, timeout, output, failed=len(cannot))


def adopt_epoch(
    name: Manager,
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Required: it cannot be taken back.")] = False,
    actor: ActorOption = None,
    request_id: RequestId = None,
    timeout: Timeout = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let a process manager go on although the write database was set back: what was lost there stays in its processes.

    Its commands are sent again only where they have no outcome yet: look at those of the lost streams with `show`.

    
    tidemark processes adopt-epoch fulfilment --yes --reason "the lost orders were test data"
    """
    from deploy.cli.projections.control_requests import send_request_or_exit

    if not yes:
        raise fail("adopt-epoch requires --yes", WRONG_USE)
    values = {"projection": manager_name(name), "generation": FIRST, "reason": reason}
    values["actor"] = operator_options.actor_name(actor)
    data = operator_options.validated(AdoptEpoch, values)
    done = run(send_request_or_exit(settings(), data, request_id=request_id, seconds=timeout))
    if output is Output.JSON:
        screen.print_json(done)
    else:
        screen.console().print(screen.printable(f"{name} goes on in epoch {done.generations[0].epoch}"))


def _act_on(
    manager: str,
    ids: Sequence[str],
    act: ActName,
    reason: str,
    actor: str | None,
    request_id: str | None,
    timeout: float,
    output: Output,
    *,
    failed: int = 0,
) -> None:
    """Send one request for each process, and print the answers. Raises typer.Exit(1) if any is refused."""
    who = operator_options.actor_name(actor)
    answers = []
    for process_id in ids:
        values = {"manager": manager, "process_id": process_id, "act": act, "actor": who, "reason": reason}
        data = operator_options.validated(ActOnProcess, values, {"process_id": "ID", "manager": "NAME"})
        answers.append(run(_send(settings(), data, request_id, timeout)))
    refused = [one for one in answers if isinstance(one, ProcessRefused)]
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in answers]})
    elif not answers:
        screen.console().print("no such processes")
    else:
        for process_id, one in zip(ids, answers, strict=True):
            text = f"{one.code}: {one.message}" if isinstance(one, ProcessRefused) else one.result or one.status
            screen.console().print(screen.printable(f"{manager} {process_id}: {text}"))
    if refused or failed:
        raise typer.Exit(NEGATIVE)


async def _send(
    settings_: Settings, data: ActOnProcess, request_id: str | None, seconds: float
) -> ProcessActed | ProcessRefused:
    from shared.messaging.operators import processes_client

    request = processes_client.request(data, source=operator_options.SOURCE, request_id=request_id)
    with operator_options.reporting_request_errors(request):
        return await processes_client.send_request(settings_.require("rabbitmq_url"), request, seconds=seconds)


async def _failed(manager: str) -> list[str]:
    async with open_process_database(settings()) as database:
        found = await database.processes([manager], MAX_AT_ONCE, state=ProcessStatus.FAILED)
        return [one.process_id for one in found]


async def _migratable(manager: str, process_id: str | None) -> list[dict[str, Any]]:
    """Unfinished processes that the current rules change, or cannot: {process_id, changes, problem}."""
    async with open_process_database(settings()) as database:
        ids = [process_id] if process_id is not None else await _unfinished(database, manager)
        return [one for each in ids if (one := await _evolved(database, manager, each)) is not None]


async def _unfinished(database: ProcessDatabase, manager: str) -> list[str]:
    found = []
    for state in (ProcessStatus.RUNNING, ProcessStatus.FAILED):
        found += [one.process_id for one in await database.processes(chosen(manager), MAX_AT_ONCE, state=state)]
    return found


async def _evolved(database: ProcessDatabase, manager: str, process_id: str) -> dict[str, Any] | None:
    from projectors.process_runtime import rows
    from projectors.process_runtime.managers import manager_named
    from projectors.process_runtime.migrating import evolved_again

    await database.enter(manager)
    process = await rows.read(database.connection, process_id)
    if process is None:
        raise fail(f"{manager} has no process {process_id}", NEGATIVE)
    found = await evolved_again(database.connection, manager_named(manager), process)
    if not found.changes and found.problem is None:
        return None
    return {"process_id": process_id, "changes": list(found.changes), "problem": found.problem}
