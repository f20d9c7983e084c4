"""Every deployable of Tidemark: how it is started, and which settings it receives.

Least privilege: a process receives only the URLs of the servers that it uses, with accounts of its own
(``deploy/servers/accounts/urls.py``). All other variables of the environment (ports, lanes, log level) are passed on.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.run.child import Program
from deploy.run.metrics_ports import metrics_port
from deploy.servers.accounts.urls import ACCOUNTS, PAYMENT_PROVIDER, QUERY, own_setting
from deploy.servers.provide import Servers
from shared.read_models import NAMES
from shared.runtime.setting_values import FILE, from_file, variable

OPERATOR_KEY: Final = "TIDEMARK_OPERATOR_KEY"
API_KEY: Final = "TIDEMARK_API_KEY"
"""A client's key, with which commands and examples use a running system: no deployable receives it."""
CLIENT_CREDENTIAL: Final = "TIDEMARK_OIDC_CLIENT_SECRET"
"""Of the console as a client of the provider that people sign in with: only the query service receives it."""
JWKS: Final = "TIDEMARK_JWT_JWKS_URL"
PRIVATE: Final[dict[str, str]] = {"TIDEMARK_AUTH": "off", "TIDEMARK_HOST": "127.0.0.1"}
"""The settings of a system that only the program which starts it uses: a demo, a drill, a test, a benchmark."""


@dataclass(frozen=True)
class Deployable:
    """A Python module with its arguments."""

    arguments: tuple[str, ...]
    needs_operator_key: bool = False
    """Whether it receives the key with which it authenticates operators."""


DEPLOYABLES: Final[Mapping[str, Deployable]] = {
    "worker": Deployable(("command_service", "worker")),
    "relay": Deployable(("command_service", "relay")),
    "http": Deployable(("command_service", "http"), needs_operator_key=True),
    **{name: Deployable(("projectors", name)) for name in NAMES},
    "processes": Deployable(("projectors", "processes")),
    "dead_letters": Deployable(("projectors", "dead_letters")),
    QUERY: Deployable(("query_service",), needs_operator_key=True),
}
"""By the name that ``tidemark up``, the line ``tidemark ready: <name>``, the health files and ``ACCOUNTS`` use."""
PROVIDERS: Final[Mapping[str, Mapping[str, Deployable]]] = {
    "": {},
    "local": {PAYMENT_PROVIDER: Deployable(("deploy.demo.payments",))},
}
"""What stands in for a service of others, for demos, drills and tests: by the value of the setting ``payment_provider``."""


def environment(name: str, servers: Servers, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The deployable's environment: ``base`` (by default this process's) with only the URLs that it needs."""
    deployable = _deployable(name)
    inherited = os.environ if base is None else base
    kept = {key: value for key, value in inherited.items() if not _is_url(key)}
    kept.pop(API_KEY, None)
    if not deployable.needs_operator_key:
        kept.pop(OPERATOR_KEY, None)
        kept.pop(OPERATOR_KEY + FILE, None)
    if name != QUERY:
        kept.pop(CLIENT_CREDENTIAL, None)
        kept.pop(CLIENT_CREDENTIAL + FILE, None)
    kept |= metrics_port(name, inherited)
    return kept | _urls(name, servers, inherited) | {"PYTHONUNBUFFERED": "1"}


def program(name: str, servers: Servers, base: Mapping[str, str] | None = None) -> Program:
    """The deployable as a program for ``Supervisor``."""
    arguments = _deployable(name).arguments
    return Program(name, (sys.executable, "-m", *arguments), environment(name, servers, base))


def programs(servers: Servers, base: Mapping[str, str] | None = None) -> list[Program]:
    """All deployables in start order; they are stopped in reverse order."""
    chosen = (os.environ if base is None else base).get("TIDEMARK_PAYMENT_PROVIDER", "")
    return [program(name, servers, base) for name in (*DEPLOYABLES, *PROVIDERS.get(chosen, {}))]


def _urls(name: str, servers: Servers, inherited: Mapping[str, str]) -> dict[str, str]:
    """The URLs that it receives; of one that is in a file the file, so that it sees when it is replaced."""
    found = {}
    for setting in ACCOUNTS[name]:
        url = servers.url(name, setting)
        for own in (own_setting(name, setting), setting):
            path = inherited.get(variable(own) + FILE)
            if path and from_file(own, inherited) == url:
                found[variable(setting) + FILE] = path
                break
        else:
            found[variable(setting)] = url
    return found


def _deployable(name: str) -> Deployable:
    return DEPLOYABLES[name] if name in DEPLOYABLES else PROVIDERS["local"][name]


def _is_url(key: str) -> bool:
    return key.startswith("TIDEMARK_") and key.removesuffix(FILE).endswith("_URL") and key.removesuffix(FILE) != JWKS
