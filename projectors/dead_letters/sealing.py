"""Seals the personal texts of commands before they are kept: in dead letters, and in commands that operators have edited.

What is not JSON, or no command whose type is known, is kept as it came: nothing in it can be found.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, Final

from pydantic_core import from_json, to_json

from projectors.dead_letters.letters.letter import COMMANDS, Incoming
from shared.contracts.registry import COMMANDS as CONTRACTS
from shared.contracts.registry import PERSONS
from shared.privacy.command_bodies import (
    opened_command,
    sealed_command,
    subject_of_command,
    texts_of_command,
)
from shared.privacy.key_database import KeyDatabase
from shared.privacy.sealing import KeyMissingError, Keys, is_sealed

Seal = Callable[[bytes], Awaitable[bytes]]
"""A command's message → the same, with its personal texts sealed. Raises what the key database raises in an outage."""

REQUESTS: Final = "tidemark/requests"
"""Nobody's stream: the name of the key for digests of operators' requests."""

PLACEHOLDER: Final = "sealed@example.org"
"""Stands for a sealed text where a command is only validated: every rule of a personal text takes it."""


class Sealing:
    """A ``Seal`` by these keys."""

    def __init__(self, keys: KeyDatabase) -> None:
        self._keys = keys

    async def __call__(self, body: bytes) -> bytes:
        elements = _elements(body)
        return _sealed(body, elements, await self._keys_of(elements))

    async def digest(self, content: bytes) -> bytes:
        """To recognise a request that has clear texts: nobody without the key database finds them out by trying."""
        key = (await self._keys.keys([REQUESTS], make=[REQUESTS]))[REQUESTS]
        return hmac.digest(key or b"", content, sha256)

    async def letter(self, letter: Incoming) -> Incoming:
        """The letter as it is stored. Events are sealed already."""
        if letter.origin != COMMANDS:
            return letter
        elements = _elements(letter.body)
        keys = await self._keys_of(elements)
        return letter._replace(
            body=_sealed(letter.body, elements, keys), identity=_identity(letter.identity, elements, keys)
        )

    async def _keys_of(self, elements: Sequence[Any]) -> Keys:
        subjects = {subject for each in elements if (subject := _person(each)) is not None}
        return await self._keys.keys(subjects, make=subjects)


def _sealed(body: bytes, elements: Sequence[Any], keys: Keys) -> bytes:
    clear = [any(not is_sealed(text) for text in texts_of_command(each).values()) for each in elements]
    if not any(clear):
        return body
    sealed = [
        sealed_command(each, _person(each), keys) if is_clear else each
        for each, is_clear in zip(elements, clear, strict=True)
    ]
    return to_json(sealed if body.lstrip()[:1] == b"[" else sealed[0])


def _identity(identity: bytes, elements: Sequence[Any], keys: Keys) -> bytes:
    """Of commands that differ in a personal text alone, each is a letter, distinguished by a digest under the person's key, which
    says nothing once that key is destroyed."""
    if len(elements) != 1 or (subject := _person(elements[0])) is None or (key := keys.get(subject)) is None:
        return identity
    try:
        texts = texts_of_command(opened_command(elements[0], subject, keys))
    except KeyMissingError:
        return identity
    return hmac.digest(key, identity + to_json(texts), sha256)


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
