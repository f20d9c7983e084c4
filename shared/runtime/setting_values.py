"""Values of settings: from the environment, or from a file that ``TIDEMARK_<NAME>_FILE`` names, so that no secret has to be in it.

A problem is one line with the name of the setting, and never with its value: URLs contain passwords.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

PREFIX: Final = "TIDEMARK_"
FILE: Final = "_FILE"
MAX_BYTES: Final = 64 * 1024
SCHEMES: Final[Mapping[str, tuple[str, ...]]] = {
    "rabbitmq_url": ("amqp", "amqps"),
    "_db_url": ("postgresql", "postgres"),
    "_redis_url": ("redis", "rediss", "unix"),
}
"""The end of a setting's name → the schemes that its URL may have."""


class SettingError(RuntimeError):
    """A setting is missing, or cannot be used. The message is one line, with its name and without its value."""


class MissingSettingError(SettingError):
    """A setting that this process needs is not in the environment."""


class FileSource(PydanticBaseSettingsSource):
    """The settings that are in files. Raises SettingError."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return from_file(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name: text for name in self.settings_cls.model_fields if (text := from_file(name)) is not None}


def variable(name: str) -> str:
    return PREFIX + name.upper()


def from_file(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The setting's value as its file has it now, without the line's end; None if it is not from a file.

    Call it again to see a secret that was replaced. Raises SettingError for a file that cannot be read, and if the environment has both.
    """
    path = environ.get(variable(name) + FILE)
    if not path:
        return None
    if environ.get(variable(name)):
        raise SettingError(f"{variable(name)} and {variable(name)}{FILE} are both set: set one of them")
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingError(f"{variable(name)}{FILE}: {path} cannot be read: {why}") from None
    text = text.rstrip("\r\n")
    if not text or len(text) > MAX_BYTES:
        raise SettingError(f"{variable(name)}{FILE}: {path} {'is too long' if text else 'is empty'}")
    return text


def value(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The setting's value now, from the environment or from its file; empty if it is in neither. Raises SettingError."""
    return from_file(name, environ) or environ.get(variable(name), "")


class SettingUrl(str):
    """The URL of a setting, as it was when the setting was read: ``connecting.current_url`` finds what its file has now."""

    __slots__ = ("setting",)
    setting: str

    def __new__(cls, setting: str, url: str) -> Self:
        made = super().__new__(cls, url)
        made.setting = setting
        return made

    @property
    def is_in_file(self) -> bool:
        return bool(os.environ.get(variable(self.setting) + FILE))


def require_url(name: str, url: str) -> str:
    """The URL, if it can be one of this setting. Raises SettingError, which does not contain it."""
    schemes = next((schemes for end, schemes in SCHEMES.items() if name.endswith(end)), None)
    if schemes is not None and not _is_url(url, schemes):
        example = "user:password@host:port/name"
        raise SettingError(
            f"{variable(name)} is no URL like {schemes[0]}://{example}; in a password, characters such as @ : / ? # % must be"
            " percent-encoded"
        )
    return url


def _is_url(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    login, at, hosts = parts.netloc.rpartition("@")
    # An unencoded / ? or # in the password ends the part with the host early, and leaves the @ behind it.
    if (
        parts.scheme not in schemes
        or parts.fragment
        or "@" in login
        or (hosts and not at and "@" in parts.path + parts.query)
    ):
        return False
    return all(_is_host(host) for host in hosts.split(","))


def _is_host(text: str) -> bool:
    """A host with or without a port. Empty: a socket, which the query names, or the default."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        return not any(each in text for each in " :") or text.startswith("[")
    return port.isdecimal() and int(port) < 65536 and (":" not in host or (host.startswith("[") and host.endswith("]")))
