"""What HAProxy gets from the environment: the addresses of the services, and every ``TIDEMARK_GATEWAY_`` variable as it is.

Nothing else of Tidemark's settings reaches it: it needs no URL of a store, and no key.
"""

import os
from collections.abc import Mapping
from typing import Final

from shared.http.address import authority, reachable
from shared.runtime.settings import Settings

PREFIX: Final = "TIDEMARK_GATEWAY_"


def addresses(settings: Settings) -> dict[str, str]:
    """Where the gateway listens, and where the services of the same machine do, unless the environment says otherwise."""
    at = reachable(settings.host)
    return {
        f"{PREFIX}BIND": authority(settings.host, settings.gateway_port),
        f"{PREFIX}QUERIES": authority(at, settings.query_port),
        f"{PREFIX}COMMANDS": authority(at, settings.command_port),
    }


def of_gateway(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for HAProxy; empty ones are left out, so that they have their defaults."""
    return {name: value for name, value in environ.items() if name.startswith(PREFIX) and value}


def url(settings: Settings) -> str:
    """Where its clients on this machine find it."""
    scheme = "https" if settings.gateway_certificate else "http"
    return f"{scheme}://{authority(reachable(settings.host), settings.gateway_port)}"
