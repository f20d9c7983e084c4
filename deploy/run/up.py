"""Runs every deployable on the given servers until it is stopped."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console

from deploy.checks.program import program as checks_program
from deploy.credentials.files import DATA, in_files
from deploy.gateway.environment import url as gateway_url
from deploy.gateway.program import ON_THIS_MACHINE, TRUSTED_PROXIES
from deploy.gateway.program import program as gateway_program
from deploy.keys.local import ready_key
from deploy.observability.private.program import program as prometheus_program
from deploy.run import environment, http_ports, metrics_ports
from deploy.run.deployables import API_KEY, DEPLOYABLES, programs
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor, run_until_stopped
from deploy.run.unprivileged import account_for_services
from deploy.servers.provide import Servers
from shared.http.address import authority, reachable
from shared.runtime.process import require_loopback
from shared.runtime.setting_values import FILE
from shared.runtime.settings import Settings

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
KEY_FILE: Final = environment.HOME / "api_key"


async def run_all(servers: Servers, data: Path, *, gateway: bool = False, observe: bool = False) -> int:
    """Migrate, start every deployable, and run; returns 0 when stopped, 1 when a deployable died. ``data``: the folder for port records.

    ``gateway``: also one port for both services. ``observe``: also a Prometheus. Raises ServersError if HAProxy or Prometheus is
    missing and cannot be installed, CannotStartError where authentication is off on an address that others reach.
    """
    ports = {**http_ports.PORT_SETTINGS, **(http_ports.GATEWAY_SETTING if gateway else {})}
    chosen, messages = http_ports.choose(data, ports)
    # URLs that are in files stay there.
    kept = {name: url for name, url in servers.environ().items() if not os.environ.get(name + FILE)}
    os.environ.update(kept | chosen | metrics_ports.choose(data, DEPLOYABLES))
    if gateway:
        os.environ.setdefault(TRUSTED_PROXIES, ON_THIS_MACHINE)
    os.environ.setdefault("TIDEMARK_RUNTIME_DIR", str((environment.HOME / "health").absolute()))
    settings = Settings()
    if not gateway:
        let_console_send(settings)
    if settings.auth == "off":
        require_loopback(settings.host, "TIDEMARK_HOST")
    await migrate(settings)
    console = Console()
    host = reachable(settings.host)
    query_url, command_url = (
        f"http://{authority(host, port)}" for port in (settings.query_port, settings.command_port)
    )
    beside = [gateway_program()] if gateway else []
    prometheus_url = ""
    if observe:
        prometheus, prometheus_url = prometheus_program(data)
        beside.append(prometheus)
    variables = {
        "TIDEMARK_QUERY_URL": query_url,
        "TIDEMARK_COMMAND_URL": command_url,
        "TIDEMARK_LANES": str(settings.lanes),
        "TIDEMARK_RUNTIME_DIR": settings.runtime_dir,
        metrics_ports.TARGETS: os.environ[metrics_ports.TARGETS],
    } | ({"TIDEMARK_GATEWAY_URL": gateway_url(settings)} if gateway else {})
    if observe:
        variables["TIDEMARK_PROMETHEUS_URL"] = prometheus_url
    if settings.auth == "off":
        messages = [*messages, "authentication is off: every request may do everything"]
    else:
        key, is_new = await ready_key(settings, KEY_FILE)
        variables[API_KEY] = str(key)
        if is_new:
            messages = [*messages, f"API key with all scopes, kept in {KEY_FILE} and shown only now: {key}"]
    account = account_for_services(Path(settings.runtime_dir))
    urls = servers.environ()
    if servers.origin != "environment":
        files = in_files(servers, environment.HOME / "secrets", account)
        urls = {name: url for name, url in urls.items() if name + FILE not in files} | files
        for name in files:
            os.environ.pop(name.removesuffix(FILE), None)
        os.environ.update(files)
    if servers.private is not None:
        variables[DATA] = str(servers.private.root)
    with environment.published(urls | variables):
        for line in messages:
            console.print(line, highlight=False)
        console.print(f"servers: {servers.origin}; `tidemark env` prints their URLs", highlight=False)
        console.print(f"queries: {query_url}/schema", highlight=False)
        console.print(f"commands: {command_url}/schema", highlight=False)
        if settings.console:
            console.print(f"console: {query_url}/console", highlight=False)
        if gateway:
            console.print(f"gateway: {gateway_url(settings)}, for both", highlight=False)
        if observe:
            console.print(f"prometheus: {prometheus_url}/alerts, with every rule", highlight=False)
        services = [replace(each, account=account) for each in (*programs(servers), checks_program(servers))]
        return await run_until_stopped(Supervisor(), [*services, *beside])


def let_console_send(settings: Settings) -> None:
    """Without a gateway the console's page is of another origin than the command service: name each to the other, on this machine alone.

    What is set is kept.
    """
    if not settings.console or settings.console_commands or settings.host not in LOOPBACK:
        return
    pages = dict.fromkeys(f"http://{authority(name, settings.query_port)}" for name in (settings.host, "localhost"))
    os.environ["TIDEMARK_CONSOLE_COMMANDS"] = f"http://{authority(settings.host, settings.command_port)}"
    os.environ.setdefault("TIDEMARK_CORS_ORIGINS", ",".join(pages))
