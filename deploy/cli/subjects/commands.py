"""``tidemark subjects``: erase a person, show all that is stored of them, seal what an older version has stored in clear."""

import asyncio
import json
import time
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter, ValidationError

from deploy.cli import operator_options, screen
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.erasure.export import export as export_subject
from deploy.erasure.findings import Findings, look
from deploy.erasure.sealing_history import seal as seal_history
from deploy.erasure.stores import key_database
from deploy.keys.store import operations_database
from deploy.sending.send_one import send_one
from projectors.dead_letters.actions.audit import record
from shared.contracts.privacy import ERASE_SUBJECT, Subject
from shared.contracts.registry import PERSONS
from shared.runtime.settings import Settings

ANSWER_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.5

app = typer.Typer(
    help="""Persons: all that is stored of one, and their erasure.

    \b
      tidemark subjects export customers/c-1 > c-1.json
      tidemark subjects erase customers/c-1 --reason "asked for it"     for ever
      tidemark verify --erasure customers/c-1                           what is left, and a certificate
      tidemark subjects list                                            who is erased
      tidemark subjects seal                                            once, after the update that seals personal data
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)
SubjectArgument = Annotated[
    str, typer.Argument(help=f"The person's stream: {', '.join(f'{kind}/…' for kind in PERSONS)}")
]


def checked(subject: str) -> str:
    """Raises typer.Exit for what is no person."""
    try:
        TypeAdapter(Subject).validate_python(subject)
    except ValidationError as error:
        raise fail(f"{subject!r} is not the name of a stream, like customers/c-1", WRONG_USE) from error
    if subject.partition("/")[0] not in PERSONS:
        raise fail(f"{subject} is no person; persons are {', '.join(PERSONS)}", WRONG_USE)
    return subject


@app.command()
def erase(
    subject: SubjectArgument,
    reason: Annotated[str, typer.Option(help="Kept as it is: no personal data.")],
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until nothing is left anywhere.")] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: operator_options.ActorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Erase a person: their key is destroyed, every projection overwrites their rows. There is no way back. The audit says who did it.

    Exit code 0: nothing is left, 1: something is (it is named), 2: wrong use, 3: a server is unavailable.
    """
    checked(subject)
    who = operator_options.actor_name(actor)
    if not yes:
        typer.confirm(f"Erase {subject}, for ever?", abort=True)
    outcome, findings = run(_erase(settings(), subject, reason, who, wait))
    if outcome["type"] != "command.accepted":
        raise fail(f"refused: {outcome['data'].get('message', outcome['type'])}", NEGATIVE)
    _print(findings, output)
    raise typer.Exit(0 if findings.is_clean else NEGATIVE)


@app.command()
def export(
    subject: SubjectArgument, reason: operator_options.Reason = "", actor: operator_options.ActorOption = None
) -> None:
    """Everything that is stored of a person, in clear, as JSON: events, documents, and what refers to them (GDPR, Art. 15).

    The audit says who has had it.
    """
    who = operator_options.reasoned(reason, actor)
    print(json.dumps(run(_export(settings(), checked(subject), who)), indent=2, ensure_ascii=False))


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """Who is erased. Keep this list outside of all backups: `tidemark subjects erase` each of it again if all databases are restored."""
    found = run(_erased(settings()))
    if output is Output.JSON:
        screen.print_json({"items": found})
        return
    for subject in found:
        print(screen.printable(subject))


@app.command()
def seal() -> None:
    """Seal the personal data that an older version has stored in clear. Online; interrupt it, and run it again."""
    from rich.console import Console

    console = Console(stderr=True)
    changed = run(seal_history(settings(), lambda read: console.print(f"{read:,} events read", end="\r")))
    print(f"{changed:,} events were in clear, and are sealed")


async def _erase(
    found: Settings, subject: str, reason: str, actor: str, wait: float
) -> tuple[dict[str, Any], Findings]:
    data = {"subject": subject, "reason": reason}
    outcome = await send_one(found, ERASE_SUBJECT, data, {"actor": actor}, ANSWER_WITHIN_S)
    if outcome["type"] != "command.accepted":
        return outcome, Findings(subject)
    deadline = time.monotonic() + wait
    while True:
        findings = await look(found, subject)
        if findings.is_clean or time.monotonic() > deadline:
            return outcome, findings
        await asyncio.sleep(LOOK_EVERY_S)


async def _export(found: Settings, subject: str, who: operator_options.Reasoned) -> dict[str, Any]:
    """Recorded before anybody sees it."""
    document = await export_subject(found, subject)
    async with operations_database(found) as operations, operations.transaction():
        details = json.dumps({"subject": subject})
        await record(operations, who.actor, "subject-exported", who.reason, details=details)
    return document


async def _erased(found: Settings) -> list[str]:
    async with key_database(found) as keys:
        return await keys.erased()


def _print(findings: Findings, output: Output) -> None:
    from deploy.erasure.findings import as_document

    if output is Output.JSON:
        screen.print_json(as_document(findings))
        return
    for line in findings.left:
        print(screen.printable(f"left: {line}"))
    if findings.is_clean:
        print(f"{findings.subject} is erased; looked into: {'; '.join(findings.checked)}")
