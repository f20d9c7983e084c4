"""Persons with distinctive texts, and a search for what is left of them, in whatever form.

Each text of a person contains MARK, so that one search finds them all, and something of its own, so that a finding says whose it is.
A text may also be left as a digest that anybody can compute again: ``Canaries`` knows those of all texts and all commands that were sent.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from shared.contracts.registry import COMMANDS
from shared.privacy.marks import personal_fields

MARK: Final = "Kwyjibo"
DIGITS: Final = 16
"""How much of a digest is looked for: as much as any shortened one has."""
SHOWN: Final = 60

PERSONAL: Final = frozenset((name, field) for name, contract in COMMANDS.items() for field in personal_fields(contract))
"""(command, field) of all personal fields that there are."""


def text_of(person: str, use: str) -> str:
    """With characters that JSON, URLs and SQL write otherwise."""
    return f'{MARK} {person} {use} Ö\'Neill & "søn"'


def address_of(person: str, use: str) -> str:
    return f"{MARK}.{person.replace('/', '.')}.{use}@Example.org"


class Canaries:
    """What was sent."""

    def __init__(self) -> None:
        self.used: set[tuple[str, str]] = set()
        """(command, field) of the personal fields that had such a text."""
        self._digests: dict[str, str] = {}
        """The first digits of a digest → of what it is."""

    def sent(self, command: str, data: Mapping[str, Any], subject: str | None = None) -> None:
        texts = {field: str(data[field]) for name, field in PERSONAL if name == command and data.get(field)}
        self.used |= {(command, field) for field, text in texts.items() if MARK in text}
        for field, text in texts.items():
            for form in {text, text.lower(), text.casefold(), text.upper(), json.dumps(text)}:
                self._digests[_digest(form.encode())] = f"{command} {field} {text}"
        if texts:
            for content in _contents(command, data, subject):
                self._digests[_digest(content)] = f"all of {command} of {subject or data}"

    def found_in(self, content: bytes) -> Iterator[str]:
        """What of them is in these bytes, each with what is around it."""
        lower = content.lower()
        for name, needle, where in _needles(content, lower):
            at = where.find(needle)
            if at >= 0:
                count = where.count(needle)
                yield f"{name}, {count} times: {content[max(0, at - SHOWN) : at + SHOWN]!r}"
        for run in re.finditer(rb"[0-9a-f]{%d,}" % DIGITS, lower):
            digits = run.group().decode()
            for at in range(len(digits) - DIGITS + 1):
                if known := self._digests.get(digits[at : at + DIGITS]):
                    begin = run.start() + at
                    yield f"digest of {known}: {content[max(0, begin - SHOWN) : begin + 64]!r}"
        for run in re.finditer(rb"[A-Za-z0-9+/_-]{43}=?", content):
            decoded = base64.urlsafe_b64decode(run.group()[:43].replace(b"+", b"-").replace(b"/", b"_") + b"=")
            if known := self._digests.get(decoded.hex()[:DIGITS]):
                yield f"digest of {known}, in Base64"
        raw = {bytes.fromhex(digits): known for digits, known in self._digests.items()}
        for at in range(len(content) - DIGITS // 2 + 1):
            if known := raw.get(content[at : at + DIGITS // 2]):
                yield f"digest of {known}, raw"


def _needles(content: bytes, lower: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """(name, bytes, where to look for them). Percent-encoding and escapes of JSON leave MARK as it is."""
    yield "clear", MARK.lower().encode(), lower
    for form in (MARK, MARK.lower(), MARK.upper()):
        yield "hex", form.encode().hex().encode(), lower
        yield "UTF-16", form.encode("utf-16-le"), content
        for shift in range(3):
            # What stands before decides the first characters, what follows the last ones.
            whole = base64.b64encode(b"\x00" * shift + form.encode())
            yield "Base64", whole[-(-shift * 4 // 3) : (shift + len(form)) * 4 // 3], content


def _contents(command: str, data: Mapping[str, Any], subject: str | None) -> Iterator[bytes]:
    """The content of a command as somebody would guess it; the first is what the write database once had the digest of."""
    for of in (subject, None):
        yield msgspec.json.encode((command, of, None, data), order="deterministic")
    yield json.dumps(data).encode()
    yield json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:DIGITS]
