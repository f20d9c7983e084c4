"""The command ``tidemark``. Exit codes: 0 success, 1 negative result, 2 wrong use, 3 a server is unavailable or too slow.

Modules that only one command needs are imported in that command, or in a lazy group (``lazy_group``), to keep the start fast.
"""

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from deploy.cli import observing
from deploy.cli.lazy import lazy_group
from deploy.cli.terminal import UNAVAILABLE, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.run import environment
from shared.read_models import NAMES

HEALTH_IS_STALE_AFTER_S: Final = 10.0

app = typer.Typer(
    name="tidemark",
    help="CQRS on RabbitMQ that can be trusted. Start with: tidemark demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


app.add_typer(
    lazy_group("deploy.cli.dead_letters.commands", "What failed, and what to do about it."), name="dead-letters"
)
app.add_typer(
    lazy_group("deploy.cli.audit.commands", "Who did what, when and why, and whether that was changed."), name="audit"
)
app.add_typer(
    lazy_group(
        "deploy.cli.epoch", "Epochs of the write database: within one, a stream's version never means two things."
    ),
    name="epoch",
)
app.add_typer(
    lazy_group("deploy.cli.projections.commands", "Read models, and rebuilding them while they are in use."),
    name="projections",
)

app.add_typer(
    lazy_group("deploy.cli.subjects.commands", "Persons: all that is stored of one, and their erasure."),
    name="subjects",
)
app.add_typer(lazy_group("deploy.cli.read_only", "Forbid operators' acts over HTTP for a time."), name="read-only")
app.add_typer(lazy_group("deploy.cli.scheduled", "Commands that wait for their time."), name="scheduled")
app.add_typer(
    lazy_group("deploy.cli.processes.commands", "Processes that span several streams, and what they wait for."),
    name="processes",
)

app.add_typer(
    lazy_group("deploy.cli.contracts", "What other services may send and read, for every language."), name="contracts"
)


app.add_typer(lazy_group("deploy.keys.commands", "API keys of the HTTP services: who may do what."), name="keys")
app.add_typer(lazy_group("deploy.services.commands", "Services that send commands over RabbitMQ."), name="services")
app.add_typer(
    lazy_group("deploy.credentials.commands", "Passwords of the deployables at their servers, and new ones."),
    name="credentials",
)


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="The data folder of servers that this starts.")] = environment.HOME
    / "servers",
    gateway: Annotated[
        bool, typer.Option("--gateway", help="Also start HAProxy: one port for commands, queries and event streams.")
    ] = False,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe", help="Also start Prometheus, with Tidemark's rules, on the metrics of every process."
        ),
    ] = False,
) -> None:
    """Start every deployable, and the servers they need, and run until Ctrl-C.

    Servers are those that TIDEMARK_*_URL name; else containers, where Docker runs; else private instances with their
    data in --data. In another terminal, in the same folder, `tidemark send` and the other commands find them, and
    `tidemark env` prints their URLs, and an API key with all scopes, for other programs. Ports stay the same from run to run unless they
    are taken. The key is made and printed at the first start, and kept in .tidemark.
    """
    from deploy.run.up import run_all
    from deploy.servers.provide import ServersError, provide
    from shared.runtime.process import CannotStartError

    try:
        with provide(data) as servers:
            raise typer.Exit(run(run_all(servers, data, gateway=gateway, observe=observe)))
    except CannotStartError as error:
        raise fail(str(error), WRONG_USE) from error
    except ServersError as error:
        raise fail(str(error), UNAVAILABLE) from error


@app.command()
def env(output: OutputOption = Output.TABLE) -> None:
    """Print all URLs of the running `tidemark up` of this folder, with passwords, and its API key, for a shell. Exit code 3: there is none.

    \b
    eval "$(tidemark env)"; node order.js
    tidemark env --output json | jq -r .TIDEMARK_RABBITMQ_URL
    """
    variables = environment.running()
    if not variables:
        raise fail("nothing is running in this folder; `tidemark up` starts everything", UNAVAILABLE)
    lines = (f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    print(json.dumps(variables, indent=2) if output is Output.JSON else "\n".join(lines))


app.add_typer(
    lazy_group("deploy.cli.demo", "Real data through the whole system, compared with its source."), name="demo"
)

app.add_typer(lazy_group("deploy.cli.drills", "Practise failure procedures on a separate system."), name="drill")


@app.command()
def migrate(output: OutputOption = Output.TABLE) -> None:
    """Create or update the schemas of all databases, and RabbitMQ's exchanges, queues and bindings. Safe to run again."""
    from deploy.run.migrate import migrate as run_migrations

    done = run(run_migrations(settings()))
    print(json.dumps({"done": done}) if output is Output.JSON else "\n".join(done))


@app.command()
def send(
    command_type: Annotated[str, typer.Argument(help="For example orders.place-order")],
    data: Annotated[str, typer.Argument(help="The command's data as JSON; - reads it from standard input.")],
    subject: Annotated[str | None, typer.Option(help="The CloudEvents subject: the id of the entity.")] = None,
    command_id: Annotated[str | None, typer.Option("--id", help="Idempotency key; generated if missing.")] = None,
    expected_version: Annotated[int | None, typer.Option(min=0, help="The version you last saw.")] = None,
    not_before: Annotated[
        str | None, typer.Option(help="RFC 3339: decide it then; `tidemark scheduled` lists and cancels such commands.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="The person or system that requests it, for audits.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the outcome.")] = 30.0,
) -> None:
    """Send one command and print its outcome as JSON. Exit code 0: accepted, or scheduled, 1: rejected, 3: no outcome in time, or none yet.

    Example: tidemark send customers.register-customer '{"customer_id": "c-1", "name": "Ann"}'
    """
    from pydantic import ValidationError

    from deploy.sending.send_one import send_one
    from shared.contracts.registry import EXACT_NUMBERS
    from shared.contracts.validation_errors import describe, sentence
    from shared.messages.envelope import EnvelopeError, parse

    try:
        payload = parse(sys.stdin.buffer.read() if data == "-" else data, exact=command_type in EXACT_NUMBERS)
    except EnvelopeError as error:
        raise fail(f"the data is {error}", WRONG_USE) from error
    attributes = {
        "subject": subject,
        "id": command_id,
        "expectedversion": expected_version,
        "notbefore": not_before,
        "actor": actor,
    }
    try:
        outcome = run(send_one(settings(), command_type, payload, attributes, timeout))
    except ValidationError as error:
        raise fail(sentence(describe(error)), WRONG_USE) from error
    print(json.dumps(outcome, indent=2, ensure_ascii=False))
    if outcome["data"].get("reason") == "scheduled":
        raise typer.Exit(0)
    raise typer.Exit({"command.accepted": 0, "command.pending": UNAVAILABLE}.get(outcome["type"], 1))


@app.command()
def archive(
    before: Annotated[
        str, typer.Option(help="A date (2026-06-01), a time (2026-06-01T09:30:00Z), or so many days ago (90d).")
    ],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this kind of stream, and also the old events of streams that are open; may be repeated."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Events moved in one transaction.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Move nothing, and say what would be moved.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move events of streams that are closed, and unchanged since --before, from the hot table of the write database to its archive.

    Closed: an order that is delivered or cancelled, a booking that is completed, cancelled or a no-show, a device that is retired.
    Nothing is lost: rebuilds, resends, replays of state and verify read both tables.
    Safe beside live commands, and to interrupt and run again: it continues where it was.

    \b
    tidemark archive --before 90d --dry-run
    tidemark archive --before 2026-06-01 --kind devices      # also of devices that are in use
    """
    from deploy.cli.archive import run_archive

    found = run_archive(before, kind or [], batch, output, dry_run=dry_run)
    raise typer.Exit(1 if found.unreadable else 0)


@app.command()
def codes(output: OutputOption = Output.TABLE) -> None:
    """Every code with which a command can be refused, what it means, and whether to retry.

    \b
    new-id   The refusal is stored, and the same command receives it again: to retry, use a new id.
    same-id  Nothing is stored: fix the message and send it under the same id.
    later    Send the same again, after Retry-After seconds if the answer has them.
    """
    from deploy.cli.codes import show

    show(output)


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="One command envelope (CloudEvents JSON) a line; - is standard input.")],
    window: Annotated[int, typer.Option(min=1, help="Maximum of commands without an outcome at any time.")] = 2000,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send many commands and count their outcomes. Exit code 0: all accepted, 1: some rejected or unreadable.

    Safe to run again with the same file: a decided command keeps its outcome.
    """
    from deploy.sending.bulk import load_file

    if str(file) != "-" and not file.is_file():
        raise fail(f"there is no file {file}", WRONG_USE)
    report = run(load_file(settings(), file, window))
    print(json.dumps(report.as_dict()) if output is Output.JSON else report.as_text())
    raise typer.Exit(0 if report.clean else 1)


@app.command()
def verify(
    projection: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Only {' or '.join(NAMES)}; repeatable. Otherwise: all."),
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Compare the content of this many random streams.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of a previous sample, to repeat it.")] = None,
    content: Annotated[
        bool, typer.Option("--content/--no-content", help="Whether to compare more than versions.")
    ] = True,
    generation: Annotated[int | None, typer.Option(min=1, help="Of each projection; otherwise the active one.")] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Have missing events sent again, and verify again.")] = False,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for events in transit.")] = 30.0,
    erasure: Annotated[
        str | None,
        typer.Option(metavar="SUBJECT", help="Only what is left of this erased person; issues a certificate."),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(help="With --erasure: also search everything for this text; repeatable. - asks for it."),
    ] = None,
    public_key: Annotated[bool, typer.Option("--public-key", help="Print the key that signs certificates.")] = False,
    limit: Annotated[int, typer.Option(min=0, max=1_000_000, help="How many findings to list; all are counted.")] = 100,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare the event store with every read store, stream by stream; then the content, by folding the events again.

    The system may be live: events in transit are waited for. Figures are sums over all streams, so --sample omits them.
    Exit code 0: all equal, 1: something is missing, behind, ahead, different, stray or held, 2: wrong use, 3: a server is unavailable.

    \b
    tidemark verify
    tidemark verify --projection summary --sample 1000
    tidemark verify --heal --output json
    tidemark verify --erasure customers/c-1 --value - > certificate.json
    """
    if public_key or erasure is not None:
        from deploy.erasure.command import print_public_key, run_verify_erasure

        if erasure is None:
            print_public_key(settings())
            raise typer.Exit(0)
        texts = [
            typer.prompt("a text of the person", hide_input=True, err=True) if one == "-" else one
            for one in value or []
        ]
        raise typer.Exit(0 if run_verify_erasure(settings(), erasure, texts) else 1)
    from deploy.cli.projections.generation_choice import projection as named_projection
    from deploy.verify.command import random_seed, run_verify
    from deploy.verify.options import Options

    if heal and (not content or sample is not None):
        raise fail("--heal requires comparing all content: it must not send events again that are present", WRONG_USE)
    if sample is not None and not content:
        raise fail("--sample and --no-content exclude each other", WRONG_USE)
    chosen = Options(content, sample, random_seed() if seed is None else seed, max_wait_s=patience)
    names = [named_projection(name) for name in projection or NAMES]
    report = run_verify(settings(), names, chosen, output, generation=generation, heal=heal, limit=limit)
    raise typer.Exit(0 if report.equal else 1)


app.command()(observing.status)
app.command()(observing.top)


@app.command()
def health(name: Annotated[str, typer.Argument(help="A deployable: worker, relay, summary …")]) -> None:
    """Whether a deployable on this machine is ready, by its health file in TIDEMARK_RUNTIME_DIR. Exit code 0 or 1."""
    folder = settings().runtime_dir
    if not folder:
        raise fail("TIDEMARK_RUNTIME_DIR is not set", WRONG_USE)
    try:
        document = json.loads((Path(folder) / f"{name}.json").read_text())
    except (OSError, ValueError) as error:
        others = ", ".join(sorted(path.stem for path in Path(folder).glob("*.json"))) or "none has"
        raise fail(f"{name} has written no health file ({error}); these have: {others}", 1) from error
    age = time.time() - document["at"]
    if age > HEALTH_IS_STALE_AFTER_S:
        raise fail(f"{name} has not updated its health file for {age:.0f} s", 1)
    print(json.dumps(document))
    raise typer.Exit(0 if document["ready"] else 1)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
