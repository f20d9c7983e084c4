"""Seals personal texts for a subject, and opens them: AES-256-GCM, the subject's name as associated data. Pure.

    sealed text = ``tmk1:`` base64url(nonce, 96 bits, random · ciphertext · tag, 128 bits)

A sealed text says nothing but its length, and opens under its subject's key and name only. NIST SP 800-38D allows 2^32 random nonces under
one key; a key here seals one person's data. What is not sealed (from before there were keys, or the erased form) is left as it is.
"""

import base64
import os
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from shared.privacy.marks import ERASED, MARKER, personal_fields, subject_of

T = TypeVar("T")

_NONCE: Final = 12

Keys = Mapping[str, bytes | None]
"""Subject → its key; None: the subject is erased. A subject that is missing here has no key."""


class KeyMissingError(LookupError):
    """Something is sealed for a subject that has no key and is not erased, or another key: the key database has lost it."""


def seal_text(text: str, subject: str, key: bytes) -> str:
    nonce = os.urandom(_NONCE)
    sealed = nonce + AESGCM(key).encrypt(nonce, text.encode(), subject.encode())
    return MARKER + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def close_text(text: str, subject: str, key: bytes | None) -> str:
    """The text sealed; the erased form if there is no key."""
    return ERASED if key is None else seal_text(text, subject, key)


def open_text(sealed: str, subject: str, key: bytes) -> str:
    """Raises KeyMissingError if it was not sealed under this key for this subject."""
    body = sealed.removeprefix(MARKER)
    try:
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], subject.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise KeyMissingError(f"the key of {subject} does not open what is sealed for it") from error


def is_sealed(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(MARKER)


def sealed(data: T, stream: str, keys: Keys) -> T:
    """The event, or state, with its personal texts sealed; those of an erased subject are replaced by the erased form.

    ``stream``: its stream, whose data they are unless its class says otherwise. Raises KeyMissingError if the subject has no key.
    """
    fields, subject = _personal(data, stream)
    if subject is None:
        return data
    key = _key(subject, keys)
    changed = {name: ERASED if key is None else _sealed_once(text, subject, key) for name, text in fields.items()}
    return replace(data, **changed)  # type: ignore[type-var]


def opened(data: T, stream: str, keys: Keys) -> T:
    """The event, or state, with its personal texts in clear; those of an erased subject in the erased form, sealed or not.

    Raises KeyMissingError if a text is sealed and the subject has no key, or another one.
    """
    fields, subject = _personal(data, stream)
    if subject is None:
        return data
    if subject in keys and keys[subject] is None:
        return replace(data, **dict.fromkeys(fields, ERASED))  # type: ignore[type-var]
    closed = {name: text for name, text in fields.items() if is_sealed(text)}
    if not closed:
        return data
    key = _key(subject, keys)
    if key is None:
        return data
    return replace(data, **{name: open_text(text, subject, key) for name, text in closed.items()})  # type: ignore[type-var]


def erased(data: T) -> T:
    """The same with the erased form of its personal texts."""
    return replace(data, **dict.fromkeys(texts_of(data), ERASED))  # type: ignore[type-var]


def texts_of(data: Any) -> dict[str, str]:
    """The personal texts of an event, state or command, by field; absent ones are left out."""
    return {name: text for name in personal_fields(type(data)) if isinstance(text := getattr(data, name), str)}


def texts_in(cls: type[Any], fields: Mapping[str, Any]) -> dict[str, str]:
    """The same of an object of the class as plain JSON, valid or not."""
    return {name: fields[name] for name in personal_fields(cls) if isinstance(fields.get(name), str)}


def _personal(data: Any, stream: str) -> tuple[dict[str, str], str | None]:
    """The personal texts, and whose they are; None: there are none, or they are nobody's."""
    if not personal_fields(type(data)):
        return {}, None
    fields = texts_of(data)
    return fields, subject_of(type(data), data, stream) if fields else None


def _sealed_once(text: str, subject: str, key: bytes) -> str:
    """A state that was not opened, since nothing needed its texts, is sealed already."""
    return text if is_sealed(text) else seal_text(text, subject, key)


def _key(subject: str, keys: Keys) -> bytes | None:
    try:
        return keys[subject]
    except KeyError as error:
        raise KeyMissingError(f"{subject} has no key, and is not erased: the key database has lost it") from error
