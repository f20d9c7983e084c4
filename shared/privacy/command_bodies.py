"""Personal texts in commands that are kept: scheduled ones, and dead letters. They are sealed before they are stored, and opened again when
the command is decided.

A sealed command is a command: only the texts of its personal fields differ. Works on plain JSON, valid or not: of a command whose subject
cannot be found out, the texts are replaced by the erased form.
"""

from collections.abc import Callable, Mapping
from typing import Any

from shared.contracts.registry import COMMANDS
from shared.privacy.marks import subject_of
from shared.privacy.sealing import KeyMissingError, Keys, close_text, is_sealed, open_text, texts_in

Element = Mapping[str, Any]
"""A command's envelope as plain JSON."""


class PersonErasedError(Exception):
    """The command has a text that was sealed for a subject that is erased."""


def subject_of_command(element: Any) -> str | None:
    """Whose personal texts the command has; None: it has none, or it cannot be found out."""
    if not texts_of_command(element):
        return None
    about = element.get("subject")
    return subject_of(COMMANDS[element["type"]], element["data"], f"/{about}" if isinstance(about, str) else "/")


def texts_of_command(element: Any) -> dict[str, str]:
    """The personal texts of a command, by field; of anything else, none."""
    if not isinstance(element, Mapping) or not isinstance(element.get("data"), Mapping):
        return {}
    contract = COMMANDS.get(element["type"]) if isinstance(element.get("type"), str) else None
    if contract is None:
        return {}
    return texts_in(contract, element["data"])


def has_sealed_texts(element: Any) -> bool:
    return any(map(is_sealed, texts_of_command(element).values()))


def sealed_command(element: Element, subject: str | None, keys: Keys) -> Element:
    """The command with its personal texts sealed; in the erased form if the subject is erased, unknown, or has no key."""
    key = keys.get(subject) if subject is not None else None

    def seal(text: str) -> str:
        return text if is_sealed(text) else close_text(text, subject or "", key)

    return _with_texts(element, seal)


def opened_command(element: Element, subject: str | None, keys: Keys) -> Element:
    """The command with its personal texts in clear. Raises PersonErasedError, and KeyMissingError if they were sealed under no key of the
    subject."""
    if subject is None or (subject in keys and keys[subject] is None):
        raise PersonErasedError
    key = keys.get(subject)

    def clear(text: str) -> str:
        if not is_sealed(text):
            return text
        if key is None:
            raise KeyMissingError(f"{subject} has no key")
        return open_text(text, subject, key)

    return _with_texts(element, clear)


def _with_texts(element: Element, changed: Callable[[str], str]) -> Element:
    texts = {name: changed(text) for name, text in texts_of_command(element).items()}
    return {**element, "data": {**element["data"], **texts}} if texts else element
