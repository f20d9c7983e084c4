"""Connections are made by the URL as its setting's file has it now, so that a new password, or certificate, needs no restart.

A password is replaced in two places, at the server and in the file, and never in both at once. Whichever comes first, a process that
is connected can connect again: if the file is first, by the URL that it was let in by before; if the server is first, by trying again
for REFUSED_FOR_S. After that the refusal is an error like any outage: its caller goes on trying, and each time the file is read again.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from shared.runtime.connecting.client_certificate import require_valid
from shared.runtime.setting_values import SettingError, SettingUrl, from_file, require_url

REFUSED_FOR_S: Final = 5.0
LONGEST_PAUSE_S: Final = 1.0

_let_in: Final[dict[str, str]] = {}
"""URL without its password → the whole URL with which a connection was made last."""

T = TypeVar("T")


class UnusableUrlError(OSError):
    """The file of a setting has no URL now, or cannot be read. The message has the setting's name, and not the value."""


class _RefusedError(Exception):
    """``refusal``: the server's. It keeps apart what is tried again here from what ``connect`` raises otherwise."""

    def __init__(self, refusal: Exception) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def current_url(url: str) -> str:
    """The URL of a setting as its file has it now. Raises UnusableUrlError. A URL that is not from a file is returned as it is."""
    try:
        text = from_file(url.setting) if isinstance(url, SettingUrl) else None
        return url if text is None or not isinstance(url, SettingUrl) else require_url(url.setting, text)
    except SettingError as error:
        raise UnusableUrlError(str(error)) from None


async def connected(url: str, connect: Callable[[str], Awaitable[T]], refuses: Callable[[BaseException], bool]) -> T:
    """What ``connect`` makes of the URL as it is now. ``refuses``: whether an error of ``connect`` is a server's refusal of a password.

    Raises what ``connect`` raises, UnusableUrlError, and ClientCertificateError.
    """

    async def attempt() -> T:
        refusals: list[Exception] = []
        for candidate in _candidates(url):
            require_valid(candidate)
            try:
                made = await connect(candidate)
            except Exception as error:
                if not refuses(error):
                    raise
                refusals.append(error)
            else:
                if _is_in_file(url):
                    _let_in[_without_password(candidate)] = candidate
                return made
        raise _RefusedError(refusals[0])

    try:
        if not _is_in_file(url):
            return await attempt()
        return await AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, _RefusedError)),
            wait=wait_random_exponential(multiplier=0.1, max=LONGEST_PAUSE_S),
            stop=stop_after_delay(REFUSED_FOR_S),
            reraise=True,
        )(attempt)
    except _RefusedError as error:
        raise error.refusal from None


def forget() -> None:
    """Forget by which URLs connections were made: what follows is as in a new process."""
    _let_in.clear()


def _candidates(url: str) -> list[str]:
    """The URL as it is now, and, if it is from a file, the one that a connection was made by before its password was replaced there."""
    try:
        current = current_url(url)
    except UnusableUrlError:
        before = _let_in.get(_without_password(url))  # the file is being written
        if before is None:
            raise
        return [before]
    before = _let_in.get(_without_password(current), current) if _is_in_file(url) else current
    return list(dict.fromkeys((current, before)))


def _is_in_file(url: str) -> bool:
    return isinstance(url, SettingUrl) and url.is_in_file


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login.partition(':')[0]}{at}{host}").geturl()
