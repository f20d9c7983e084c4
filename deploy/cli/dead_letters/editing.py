"""The new data of a dead command: from the command line, a file, standard input, or the operator's editor."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from deploy.cli import operator_options
from deploy.cli.dead_letters.store import open_operations_database
from deploy.cli.terminal import NEGATIVE, WRONG_USE, fail, run
from shared.messages.envelope import MAX_MESSAGE_BYTES, EnvelopeError, parse
from shared.runtime.settings import Settings
from shared.views.operations import LetterDetail

COMMANDS: Final = "commands"


def new_data(settings: Settings, letter_id: int, given: str | None) -> dict[str, Any]:
    """The new data, a JSON object. Raises typer.Exit if it is not one, or if no data were given and no terminal is attached."""
    if given is not None:
        return parse_data(_read(given))
    if not operator_options.is_interactive():
        raise fail("edit requires --data: JSON, @file, or - for standard input", WRONG_USE)

    async def read() -> LetterDetail | None:
        async with open_operations_database(settings) as database:
            return await database.letter(letter_id)

    letter = run(read())
    if letter is None:
        raise fail(f"there is no dead letter {letter_id}", NEGATIVE)
    if letter.origin != COMMANDS:
        raise fail(f"letter {letter_id} is an event: events are facts; fix the projection and replay", NEGATIVE)
    before = _command_data(letter.body)
    return parse_data(_edit(json.dumps(before, indent=2, ensure_ascii=False)))


def parse_data(raw: bytes | str) -> dict[str, Any]:
    if len(raw) > MAX_MESSAGE_BYTES:
        raise fail(f"the data is larger than a message may be: {MAX_MESSAGE_BYTES} bytes", WRONG_USE)
    try:
        found = parse(raw, exact=True)
    except EnvelopeError as error:
        raise fail(f"the data is {error}", WRONG_USE) from error
    if not isinstance(found, dict):
        raise fail("the data must be a JSON object", WRONG_USE)
    return found


def _read(given: str) -> bytes | str:
    if given == "-":
        return sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 1)
    if not given.startswith("@"):
        return given.encode("utf-8", "surrogateescape")
    try:
        return Path(given[1:]).read_bytes()
    except (OSError, ValueError) as error:
        raise fail(f"cannot read {given[1:]}: {error}", WRONG_USE) from error


def _edit(text: str) -> bytes:
    """The text as edited in the operator's editor. Raises typer.Exit if it was left unchanged or the editor failed."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.json"
        before = text.encode("utf-8", "replace")
        file.write_bytes(before)
        try:
            code = subprocess.run([*editor, str(file)], check=False).returncode
        except OSError as error:
            raise fail(f"cannot start the editor {editor[0]}: {error}", WRONG_USE) from error
        after = file.read_bytes()
    if code or after.strip() == before.strip():
        raise fail("the data is unchanged; nothing was sent", NEGATIVE)
    return after


def _command_data(body: str) -> Any:
    """The data of the received command; an empty object if it cannot be read."""
    try:
        envelope = json.loads(body, parse_float=str)  # the text of a number that is not an integer keeps its digits
    except ValueError:
        return {}
    return envelope.get("data", {}) if isinstance(envelope, dict) else {}
