"""``tidemark dead-letters jobs``: replay jobs, and steering them."""

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from deploy.cli import operator_options, screen
from deploy.cli.dead_letters import options, tables
from deploy.cli.dead_letters.following import all_succeeded, follow
from deploy.cli.dead_letters.requests import asked
from deploy.cli.dead_letters.store import opened
from deploy.cli.terminal import NO, Output, OutputOption, fail, run, settings
from shared.messages.control import Steer
from shared.views.operations import JobView


class NumberMeansShow(TyperGroup):
    """``jobs 3`` is ``jobs show 3``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, ["show", *args] if args and args[0].isdecimal() else args)


app = typer.Typer(
    cls=NumberMeansShow,
    invoke_without_command=True,
    help="""Replay jobs: without more, the latest of them.

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
        async with opened(settings()) as database:
            return await database.jobs(limit)

    found = run(read())
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in found]})
        return
    screen.console().print(tables.jobs(found) if found else "no replay jobs yet")


@app.command()
def show(
    job_id: options.JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is at rest.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """One job, and the letters that failed again. With --wait exit code 0 only when all letters succeeded."""
    chosen = settings()
    if wait:
        raise typer.Exit(report(run(follow(chosen, job_id)), output))

    async def read() -> tuple[JobView | None, list[dict[str, Any]]]:
        async with opened(chosen) as database:
            return await database.job(job_id), await database.job_letters(job_id, "failed", 100)

    found, failed = run(read())
    if found is None:
        raise fail(f"there is no job {job_id}", NO)
    if output is Output.JSON:
        screen.print_json({**found.model_dump(mode="json"), "failed_letters": [one["letter_id"] for one in failed]})
        return
    for part in tables.job(found, failed):
        screen.console().print(part)


@app.command()
def pause(
    job_id: options.JobId,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send no more of the job's letters; those under way still get their answers."""
    _steer(job_id, "paused", reason, actor, request_id, timeout, output)


@app.command()
def resume(
    job_id: options.JobId,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Go on with a job that was paused, or that stopped itself."""
    _steer(job_id, "running", reason, actor, request_id, timeout, output)


@app.command()
def cancel(
    job_id: options.JobId,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: options.Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """End a job for good; what it has not sent stays dead."""
    _steer(job_id, "cancelled", reason, actor, request_id, timeout, output)


def report(job: JobView, output: Output) -> int:
    """Print how a job came to rest; returns the exit code: 0 only when all its letters succeeded."""
    if output is Output.JSON:
        screen.print_json(job)
    else:
        said = f"job {job.id} is {job.state}: {job.succeeded} of {job.total} succeeded, {job.failed} failed"
        said += f", {job.skipped} skipped, {job.queued} not sent"
        screen.console().print(said + (f"; {screen.shown(job.why)}" if job.why else ""))
    return 0 if all_succeeded(job) else NO


def _steer(
    job_id: int,
    to: Literal["paused", "running", "cancelled"],
    reason: str,
    actor: str | None,
    request_id: str | None,
    timeout: float,
    output: Output,
) -> None:
    act = options.valid(Steer, job_id=job_id, to=to, actor=operator_options.who(actor), reason=reason)
    done = run(asked(settings(), act, request_id=request_id, seconds=timeout))
    if output is Output.JSON:
        screen.print_json(done)
        return
    screen.console().print(f"job {job_id} is {done.state or to}")
