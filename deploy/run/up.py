"""Runs every deployable on the given servers until it is stopped."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console

from deploy.keys.local import ready_key
from deploy.run import environment, http_ports
from deploy.run.deployables import API_KEY, programs
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor, run_until_stopped
from deploy.run.unprivileged import Account, account_for_services, problem_of
from deploy.servers.provide import Servers
from shared.http.identities.credentials import require_loopback
from shared.runtime.settings import Settings

KEY_FILE: Final = environment.HOME / "api_key"


async def run_all(servers: Servers, data: Path) -> int:
    """Migrate, start every deployable, and run; returns 0 when stopped, 1 when a deployable died. ``data``: the folder for port records.

    Raises CannotStartError where authentication is off on an address that others reach.
    """
    chosen, messages = http_ports.choose(data)
    os.environ.update(servers.environ() | chosen)
    os.environ.setdefault("TIDEMARK_RUNTIME_DIR", str((environment.HOME / "health").absolute()))
    settings = Settings()
    if settings.auth == "off":
        require_loopback(settings.host)
    await migrate(settings)
    console = Console()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    query_url, command_url = f"http://{host}:{settings.query_port}", f"http://{host}:{settings.command_port}"
    variables = {
        "TIDEMARK_QUERY_URL": query_url,
        "TIDEMARK_COMMAND_URL": command_url,
        "TIDEMARK_LANES": str(settings.lanes),
        "TIDEMARK_RUNTIME_DIR": settings.runtime_dir,
    }
    if settings.auth == "off":
        messages = [*messages, "authentication is off: every request may do everything"]
    else:
        key, is_new = await ready_key(settings, KEY_FILE)
        variables[API_KEY] = str(key)
        if is_new:
            messages = [*messages, f"API key with all scopes, kept in {KEY_FILE} and shown only now: {key}"]
    with environment.published(servers.environ() | variables):
        for line in messages:
            console.print(line, highlight=False)
        console.print(f"servers: {servers.origin}; `tidemark env` prints their URLs", highlight=False)
        console.print(f"queries: {query_url}/schema", highlight=False)
        console.print(f"commands: {command_url}/schema", highlight=False)
        account = _account(Path(settings.runtime_dir))
        return await run_until_stopped(Supervisor(), [replace(each, account=account) for each in programs(servers)])


def _account(runtime_dir: Path) -> Account | None:
    """The user of the services, if this is root. Says so if they have to run as root."""
    if os.geteuid() != 0:
        return None
    account = account_for_services()
    problem = problem_of(account, runtime_dir) if account else "there is none"
    if problem is None:
        return account
    name = account.name if account else "a user without privileges"
    print(f"tidemark: WARNING: the services run as root, for {name} cannot run them: {problem}", file=sys.stderr)
    return None
