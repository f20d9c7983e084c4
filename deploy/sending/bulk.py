"""Sends many commands from a file of CloudEvents envelopes, one per line."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic_core import to_json

from deploy.sending.batches import CommandMessage
from deploy.sending.outcomes import Tally
from deploy.sending.sender import CommandSender
from shared.contracts.registry import EXACT_NUMBERS
from shared.messages.envelope import parse
from shared.runtime.settings import Settings

MAX_LINE_BYTES: Final = 1024 * 1024
MAX_EXAMPLES: Final = 20


@dataclass(slots=True)
class LoadReport:
    tally: Tally
    unreadable: int = 0
    examples: list[str] = field(default_factory=list)
    """What is wrong with the first unreadable lines, with their line numbers."""

    @property
    def clean(self) -> bool:
        return not self.unreadable and not self.tally.rejected

    def as_dict(self) -> dict[str, Any]:
        return {
            "sent": self.tally.sent,
            "accepted": self.tally.accepted,
            "rejected": dict(self.tally.rejected),
            "unreadable": self.unreadable,
            "examples": self.examples + [f"{code}: {text}" for code, text in self.tally.examples.items()],
        }

    def as_text(self) -> str:
        lines = [f"sent {self.tally.sent}, accepted {self.tally.accepted}"]
        lines += [
            f"rejected {count} × {code}: {self.tally.examples.get(code, '')}"
            for code, count in self.tally.rejected.items()
        ]
        if self.unreadable:
            lines += [f"unreadable lines, not sent: {self.unreadable}", *self.examples]
        return "\n".join(lines)


async def load_file(settings: Settings, file: Path, window: int) -> LoadReport:
    """Send every line that is a command. Raises UnansweredCommandsError when no reply arrives."""
    sender = CommandSender(settings.require("rabbitmq_url"), window=window, name="tidemark load")
    report = LoadReport(sender.tally)
    await sender.send(_commands(file, report))
    return report


def _commands(file: Path, report: LoadReport) -> Iterator[CommandMessage]:
    with sys.stdin.buffer if str(file) == "-" else file.open("rb") as lines:
        for number, line in enumerate(_lines(lines), 1):
            if not line.strip():
                continue
            try:
                yield _command(line)
            except ValueError as error:
                report.unreadable += 1
                if len(report.examples) < MAX_EXAMPLES:
                    report.examples.append(f"line {number}: {error}")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines, lazily; a line that is too long is cut to one byte more than MAX_LINE_BYTES, which shows that it is."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        yield line


def _command(line: bytes) -> CommandMessage:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
    envelope = parse(line)
    if isinstance(envelope, dict) and envelope.get("type") in EXACT_NUMBERS:
        envelope = parse(line, exact=True)
    if not isinstance(envelope, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the file is wrong, not the program
    for name in ("id", "type"):
        if not isinstance(envelope.get(name), str) or not 0 < len(envelope[name]) <= 200:
            raise ValueError(f"no usable {name!r}")
    return CommandMessage(envelope["id"], envelope["type"], to_json(envelope))
