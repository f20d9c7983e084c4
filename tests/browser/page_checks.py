"""A signed-in page that notes what it may not do: errors on its console, requests to other hosts, texts that run."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, Request, expect

from tests.browser.conftest import ConsoleSystem

SERIOUS: Final = ("serious", "critical")
SHOWN_WITHIN_MS: Final = 15_000
# The browser itself writes these for answers that the page expects.
EXPECTED: Final = re.compile(
    r"Failed to load resource: the server responded with a status of (401|403|404|412|422|423)"
)


@dataclass
class Visit:
    page: Page
    system: ConsoleSystem
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    clicks: int = 0

    async def open(self, path: str) -> None:
        await self.page.goto(f"{self.system.url}/console/{path}")
        await self.read()

    async def read(self) -> None:
        """Until the page shows what it has asked for."""
        await expect(self.page.get_by_role("navigation", name="Pages")).to_be_visible(timeout=SHOWN_WITHIN_MS)
        await expect(self.page.locator("main h1").first).to_be_visible(timeout=SHOWN_WITHIN_MS)
        await expect(self.page.get_by_text("Reading…")).to_have_count(0, timeout=SHOWN_WITHIN_MS)

    async def click(self, name: str, role: str = "link", exact: bool = False) -> None:
        self.clicks += 1
        await self.page.get_by_role(role, name=name, exact=exact).first.click(timeout=SHOWN_WITHIN_MS)  # type: ignore[arg-type]

    async def act(self, name: str, reason: str, expected: str = "", confirm: str = "") -> None:
        """Carry an act out, as soon as it can be: its dialog says ``expected``, asks for the reason, and closes after the answer.

        ``confirm``: what the button says that does it, if not the act's name."""
        button = self.page.locator("button:not([aria-disabled])", has_text=f"{name}…").first
        await button.click(timeout=2 * SHOWN_WITHIN_MS)
        dialog = self.page.get_by_role("dialog")
        await expect(dialog).to_contain_text(expected, timeout=SHOWN_WITHIN_MS)
        await dialog.get_by_label("Reason, for the audit").fill(reason)
        await dialog.get_by_role("button", name=confirm or name, exact=True).click()
        await expect(dialog.get_by_role("status")).to_be_visible(timeout=SHOWN_WITHIN_MS)
        await dialog.locator("button.primary", has_text="Close").click()
        await expect(dialog).to_have_count(0)

    async def serious(self) -> list[str]:
        """axe's serious and critical findings on what is shown."""
        found = (await Axe().run(self.page)).response["violations"]
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes'][:3]]}"
            for each in found
            if each["impact"] in SERIOUS
        ]

    def is_clean(self) -> bool:
        """No error, and no request to another host than the services' own. Fails with what there was."""
        assert self.errors == [], self.errors
        assert self.hosts <= {"127.0.0.1"}, self.hosts
        return True


@asynccontextmanager
async def visit(
    browser: Browser,
    system: ConsoleSystem,
    role: str = "admin",
    *,
    width: int = 1360,
    height: int = 850,
    dark: bool = False,
) -> AsyncIterator[Visit]:
    """Signed in with the key of ``role`` through the sign-in page, on *Now*; empty: on the sign-in page."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    page = await context.new_page()
    found = Visit(page, system)

    def note_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not EXPECTED.search(message.text):
            found.errors.append(message.text)

    def note_request(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            found.hosts.add(urlsplit(request.url).hostname or "")

    page.on("console", note_console)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", note_request)
    try:
        await page.goto(f"{system.url}/console/")
        if role:
            await page.get_by_label("API key").fill(system.keys[role])
            await page.get_by_role("button", name="Sign in").click()
            await found.read()
        yield found
    finally:
        await context.close()
