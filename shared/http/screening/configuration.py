"""From settings to what a screen lets through."""

from collections.abc import Callable
from typing import TypeVar

from shared.http.screening.forwarded import TrustedProxies, networks
from shared.http.screening.hosts import AllowedHosts, host_names
from shared.http.screening.origins import Origins, origins
from shared.http.screening.screen import Screening
from shared.runtime.process import CannotStartError
from shared.runtime.settings import Settings

T = TypeVar("T")


def screening(settings: Settings) -> Screening:
    """Raises CannotStartError with the name of the setting that is malformed."""
    return Screening(
        AllowedHosts(_read("allowed_hosts", settings.allowed_hosts, host_names), settings.host),
        Origins(_read("cors_origins", settings.cors_origins, origins)),
        TrustedProxies(_read("trusted_proxies", settings.trusted_proxies, networks)),
    )


def _read(setting: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise CannotStartError(f"TIDEMARK_{setting.upper()}: {error}") from error
