"""A running system with authentication, its console in Debian's Chromium, and data to look at: among them poisoned orders."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Browser, async_playwright

from deploy.checks.program import program as checks_program
from deploy.demo.system import settings_for
from deploy.keys import store
from deploy.run.deployables import program, programs
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers import packages
from deploy.servers import programs as installed
from shared.http.identities.scopes import ROLES
from shared.messaging.access import ADMINISTRATOR, user_of
from shared.messaging.topology import SENDER_HEADER, dead_queue
from tests.browser.corpus import HOSTILE
from tests.e2e.bus import Bus, bus_of, encode, envelope
from tests.e2e.system import VISIBLE_WITHIN_S, own_servers, ports
from tests.issuer import AUDIENCE
from tests.oidc_provider import CLIENT, Provider, provider

POISONED: Final = 6
PROJECTION: Final = "summary"
ORDERS: Final = 12
Sent = tuple[str, Mapping[str, Any], str]
"""A command's type, its data, and its subject where the data do not name it."""
PRODUCTS: Final = ("Earl Grey", "Red mug", "Linen towel")


@dataclass(frozen=True)
class ConsoleSystem:
    """``keys``: role → an API key with its scopes; ``guest``: one that sees hardly more than dead letters."""

    url: str
    keys: Mapping[str, str]
    supervisor: Supervisor
    commands: httpx.AsyncClient
    queries: httpx.AsyncClient
    bus: Bus
    fixed: Any
    """The poisoned projector as a program without the poison."""
    provider: Provider
    """Whom people can sign in with."""

    async def send(self, type_: str, data: Mapping[str, Any], subject: str = "", key: str = "admin") -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[key]}", "Prefer": "wait=20"}
        parameters = {"subject": subject} if subject else {}
        return await self.commands.post(f"/commands/{type_}", json=dict(data), params=parameters, headers=headers)

    async def visible(self, path: str, holds: Any) -> Any:
        """The query service's answer to an administrator as soon as it ``holds``."""
        answer: Any = None
        try:
            async with asyncio.timeout(3 * VISIBLE_WITHIN_S):
                while True:
                    response = await self.queries.get(path)
                    answer = response.json()
                    if response.status_code == 200 and holds(answer):
                        return answer
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{path} did not come to what it should be; it is {answer}")

    async def dead_commands(self, *names: str) -> list[int]:
        """The letters of commands that register a customer each, and went dead."""
        headers = {
            "tidemark-reason": "handler-failed",
            "tidemark-exception": f"the first of them is {names[0]}",
            "tidemark-routing-key": "customers.register-customer",
            SENDER_HEADER: user_of("http"),
        }
        for name in names:
            body = envelope("customers.register-customer", {"customer_id": name, "name": name}, id_=name)
            await self.bus.put(dead_queue("commands"), encode(body), headers, user_id=ADMINISTRATOR)
        found = await self.visible(
            "/dead-letters?origin=commands&status=dead&limit=200",
            lambda page: {each["command_id"] for each in page["items"]} >= set(names),
        )
        return [each["id"] for each in found["items"] if each["command_id"] in names]

    async def deploy_the_fix(self) -> None:
        await self.supervisor.kill(PROJECTION)
        await self.supervisor.start([self.fixed])


@pytest.fixture(scope="package")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleSystem]:
    poisoned = " ".join(f"orders/poisoned-{number}" for number in range(POISONED))
    chosen = ports() | {
        "TIDEMARK_AUTH": "on",
        "TIDEMARK_CURRENCY": "EUR",
        f"TIDEMARK_{PROJECTION.upper()}_RETRIES": "1",
    }
    query, command = (f"http://127.0.0.1:{chosen[f'TIDEMARK_{name}_PORT']}" for name in ("QUERY", "COMMAND"))
    chosen |= {"TIDEMARK_CONSOLE_COMMANDS": command, "TIDEMARK_CORS_ORIGINS": query}
    with own_servers() as servers:
        settings = settings_for(servers)
        await migrate(settings)
        async with store.operations_database(settings) as database:
            made: dict[str, store.NewKey] = {
                role: await store.create(database, role, scopes, None, actor="tests", reason="for a browser")
                for role, scopes in (
                    ("admin", ["*"]),
                    ("guest", ["dead-letters:read", "operations:read", "queries:*"]),
                    *((role, sorted(each.scopes)) for role, each in ROLES.items() if role != "admin"),
                )
            }
        keys = {role: str(one.key) for role, one in made.items()}
        log = tmp_path_factory.mktemp("console") / "output.log"
        async with AsyncExitStack() as stack:
            signing_in = await stack.enter_async_context(provider())
            chosen |= {
                "TIDEMARK_JWT_ISSUER": signing_in.url,
                "TIDEMARK_JWT_AUDIENCE": AUDIENCE,
                "TIDEMARK_JWT_JWKS_URL": f"{signing_in.url}/jwks.json",
                "TIDEMARK_JWT_LEEWAY_S": "0",
                "TIDEMARK_OIDC_CLIENT_ID": CLIENT,
            }
            output = stack.enter_context(log.open("w"))
            supervisor = await stack.enter_async_context(Supervisor(output))
            environment = dict(os.environ) | chosen
            poison = environment | {"TIDEMARK_POISON": f"{PROJECTION}:{poisoned}"}
            await supervisor.start(
                program(PROJECTION, servers, poison) if each.name == PROJECTION else each
                for each in (*programs(servers, environment), checks_program(servers, environment))
            )
            admin = {"Authorization": f"Bearer {keys['admin']}"}
            system = ConsoleSystem(
                query,
                keys,
                supervisor,
                await stack.enter_async_context(httpx.AsyncClient(base_url=command, trust_env=False, timeout=40)),
                await stack.enter_async_context(
                    httpx.AsyncClient(base_url=query, trust_env=False, timeout=30, headers=admin)
                ),
                await stack.enter_async_context(bus_of(servers.rabbitmq_url)),
                program(PROJECTION, servers, environment),
                signing_in,
            )
            await _fill(system)
            yield system


async def _fill(system: ConsoleSystem) -> None:
    """Customers, products, orders and processes; poisoned orders with events behind them; hostile text wherever senders can put it."""
    await _accepted(
        [
            ("customers.register-customer", {"customer_id": "c-1", "name": "Ann", "region": "north"}, ""),
            ("customers.register-customer", {"customer_id": "c-2", "name": HOSTILE[0]}, ""),
            *(
                (
                    "catalog.create-product",
                    {"product_id": f"p-{index}", "name": name, "category": "tea", "price": 500, "currency": "EUR"},
                    "",
                )
                for index, name in enumerate((*PRODUCTS, *HOSTILE))
            ),
        ],
        system,
    )
    placed: list[Sent] = [("catalog.receive-stock", {"quantity": 100}, "p-0")]
    placed += [
        ("orders.place-order", order(f"order-{number}", "c-1" if number % 2 else "c-2", number % 3), "")
        for number in range(ORDERS)
    ]
    placed += [("orders.place-order", order(f"poisoned-{number}", "c-1", 1), "") for number in range(POISONED)]
    placed += [("orders.place-order", order("managed-1", "c-1", 0) | {"fulfilment": "managed"}, "")]
    await _accepted(placed, system)
    behind: list[Sent] = [("orders.pay-order", {"amount": 998}, f"poisoned-{number}") for number in range(POISONED)]
    behind += [("orders.cancel-order", {"reason": text}, f"order-{index}") for index, text in enumerate(HOSTILE)]
    await _accepted(behind, system)
    hostile = {
        **{"tidemark-reason": HOSTILE[4], "tidemark-exception": HOSTILE[1], "tidemark-message": HOSTILE[2]},
        **{f"x-note-{index}": text for index, text in enumerate(HOSTILE)},
    }
    await system.bus.put(dead_queue("commands"), HOSTILE[0].encode(), hostile)
    await system.visible("/processes/managed-1", lambda found: found["commands"])
    await system.visible(
        "/dead-letters/groups", lambda found: sum(each["count"] for each in found["items"]) >= POISONED + 1
    )


def order(order_id: str, customer: str, product: int) -> dict[str, Any]:
    line = {"product_id": f"p-{product}", "quantity": 2, "amount": 998}
    return {"order_id": order_id, "customer_id": customer, "currency": "EUR", "lines": [line]}


async def _accepted(commands: Sequence[Sent], system: ConsoleSystem) -> None:
    """Send them, and wait until each is accepted."""
    for answer in await asyncio.gather(*(system.send(*each) for each in commands)):
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    """Headless, as root without a sandbox; what it is shown is served by this machine."""
    packages.install_missing(packages.BROWSER)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=installed.chromium(),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
            env={**os.environ, **installed.environment()},
        )
        yield browser
        await browser.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the pages go: those of the documentation are kept when ``PICTURES`` names their folder."""
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    folder.mkdir(exist_ok=True)
    return folder
