"""Seals the personal texts of commands before they are kept: in dead letters, and in commands that operators have edited.

What is not JSON, or no command whose type is known, is kept as it came: nothing in it can be found.
"""

import hmac
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final

from pydantic_core import from_json, to_json

from projectors.dead_letters.letters.letter import COMMANDS, Incoming
from shared.contracts.registry import COMMANDS as CONTRACTS
from shared.contracts.registry import PERSONS
from shared.privacy.command_bodies import (
    PersonErasedError,
    opened_command,
    sealed_command,
    subject_of_command,
    texts_of_command,
)
from shared.privacy.key_database import KeyDatabase
from shared.privacy.sealing import KeyMissingError, is_sealed

Seal = Callable[[bytes], Awaitable[bytes]]
"""A command's message → the same, with its personal texts sealed. Raises what the key database raises in an outage."""

PLACEHOLDER: Final = "sealed@example.org"
"""Stands for a sealed text where a command is only validated: every rule of a personal text takes it."""


class Sealing:
    """A ``Seal`` by these keys."""

    def __init__(self, keys: KeyDatabase) -> None:
        self._keys = keys

    async def __call__(self, body: bytes) -> bytes:
        elements = _elements(body)
        clear = [each for each in elements if any(not is_sealed(text) for text in texts_of_command(each).values())]
        if not clear:
            return body
        subjects = {subject for each in clear if (subject := _person(each)) is not None}
        found = await self._keys.keys(subjects, make=subjects)
        sealed = [sealed_command(each, _person(each), found) if each in clear else each for each in elements]
        return to_json(sealed if body.lstrip()[:1] == b"[" else sealed[0])

    async def letter(self, letter: Incoming) -> Incoming:
        """The letter as it is stored. Events are sealed already."""
        if letter.origin != COMMANDS:
            return letter
        return letter._replace(body=await self(letter.body), identity=await self._identity(letter))

    async def _identity(self, letter: Incoming) -> bytes:
        """Of commands that differ in a personal text alone, each is a letter, distinguished by a digest under the person's key, which
        says nothing once that key is destroyed."""
        elements = _elements(letter.body)
        if len(elements) != 1 or (subject := _person(elements[0])) is None:
            return letter.identity
        found = await self._keys.keys({subject}, make={subject})
        key = found.get(subject)
        try:
            texts = texts_of_command(opened_command(elements[0], subject, found))
        except (KeyMissingError, PersonErasedError):
            return letter.identity
        return letter.identity if key is None else hmac.digest(key, letter.identity + to_json(texts), sha256)


def without_sealed_texts(command_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """The data as they can be validated."""
    if command_type not in CONTRACTS:
        return data
    texts = texts_of_command({"type": command_type, "data": data})
    return data | {name: PLACEHOLDER for name, text in texts.items() if is_sealed(text)}


def _person(element: Any) -> str | None:
    subject = subject_of_command(element)
    return subject if subject is not None and subject.partition("/")[0] in PERSONS else None


def _elements(body: bytes) -> list[Any]:
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError:
        return []
    return parsed if isinstance(parsed, list) else [parsed]
