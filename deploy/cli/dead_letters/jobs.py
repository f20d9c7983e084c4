"""``tidemark dead-letters jobs``: shows, pauses, resumes and cancels replay jobs."""

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from deploy.cli import operator_options, screen
from deploy.cli.dead_letters import options, tables
from deploy.cli.dead_letters.control_requests import send_request
from deploy.cli.dead_letters.following import all_succeeded, follow
from deploy.cli.dead_letters.store import open_operations_database
from deploy.cli.terminal import NEGATIVE, Output, OutputOption, fail, run, settings
from shared.messages.control import Steer
from shared.views.operations import JobView


class ShowByNumberGroup(TyperGroup):
    """A command group in which ``jobs 3`` means ``jobs show 3``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, ["show", *args] if args and args[0].isdecimal() else args)


app = typer.Typer(
    cls=ShowByNumberGroup,
    invoke_without_command=True,
    help="""Replay jobs; without a subcommand: list the latest.

    \b
    tidemark dead-letters jobs
    tidemark dead-letters jobs 3 --wait
    tidemark dead-letters jobs pause 3 --reason "the database is slow"
    tidemark dead-letters jobs resume 3
    """,
)


@app.callback()
def jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    if context.invoked_subcommand is not None:
        return

    async def read() -> list[JobView]:
        async with open_operations_database(settings()) as database:
            return await database.jobs(limit)

    found = run(read())
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in found]})
        return
    screen.console().print(tables.jobs(found) if found else "no replay jobs yet")


@app.command()
def show(
    job_id: options.JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it has ended or halted.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """One job, and the letters that failed again. With --wait exit code 0 only when all letters succeeded."""
    chosen = settings()
    if wait:
        raise typer.Exit(print_final_state(run(follow(chosen, job_id)), output))

    async def read() -> tuple[JobView | None, list[dict[str, Any]]]:
        async with open_operations_database(chosen) as database:
            return await database.job(job_id), await database.job_letters(job_id, "failed", 100)

    found, failed = run(read())
    if found is None:
        raise fail(f"there is no job {job_id}", NEGATIVE)
    if output is Output.JSON:
        screen.print_json({**found.model_dump(mode="json"), "failed_letters": [one["letter_id"] for one in failed]})
        return
    for part in tables.job(found, failed):
        screen.console().print(part)


@app.command()
def pause(
    job_id: options.JobId,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Stop sending the job's letters; those under way are still completed."""
    _set_state(job_id, "paused", reason, actor, request_id, timeout, output)


@app.command()
def resume(
    job_id: options.JobId,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Continue a job that was paused, or that stopped itself."""
    _set_state(job_id, "running", reason, actor, request_id, timeout, output)


@app.command()
def cancel(
    job_id: options.JobId,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """End a job permanently; letters that it has not sent stay dead."""
    _set_state(job_id, "cancelled", reason, actor, request_id, timeout, output)


def print_final_state(job: JobView, output: Output) -> int:
    """Print the state of a settled job; returns the exit code: 0 only when all its letters succeeded."""
    if output is Output.JSON:
        screen.print_json(job)
    else:
        summary = f"job {job.id} is {job.state}: {job.succeeded} of {job.total} succeeded, {job.failed} failed"
        summary += f", {job.skipped} skipped, {job.queued} not sent"
        screen.console().print(summary + (f"; {screen.printable(job.why)}" if job.why else ""))
    return 0 if all_succeeded(job) else NEGATIVE


def _set_state(
    job_id: int,
    to: Literal["paused", "running", "cancelled"],
    reason: str,
    actor: str | None,
    request_id: str | None,
    timeout: float,
    output: Output,
) -> None:
    act = options.validated(Steer, job_id=job_id, to=to, actor=operator_options.actor_name(actor), reason=reason)
    done = run(send_request(settings(), act, request_id=request_id, seconds=timeout))
    if output is Output.JSON:
        screen.print_json(done)
        return
    screen.console().print(f"job {job_id} is {done.state or to}")
