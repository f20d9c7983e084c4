"""The console in a browser, on a running system: every page, what may not happen on any, and a poison from sight to end.

`make test-console` runs it. ``PICTURES=deploy/console/screenshots`` keeps pictures of the pages there.
"""

import re
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import POISONED, PROJECTION, ConsoleSystem
from tests.browser.corpus import HOSTILE
from tests.browser.page_checks import SHOWN_WITHIN_MS, Visit, visit

pytestmark = pytest.mark.timeout(300)

PAGES = {
    "now": "",
    "failures": "failures",
    "letters": "failures/letters",
    "letter": "failures/letters/1",
    "replay": f"failures/replay?origin={PROJECTION}",
    "jobs": "failures/jobs",
    "projections": "projections",
    "projection": f"projections/{PROJECTION}",
    "stream": "streams/orders/poisoned-1",
    "processes": "processes",
    "process": "processes/fulfilment/managed-1",
    "proof": "proof",
    "timeline": "timeline",
    "commands": "commands",
    "command": "commands/orders.place-order",
    "scheduled": "commands/scheduled",
    "shop": "shop",
}
POLICY = re.compile(r"default-src 'none'")
MOST_CLICKS = 8
MOST_S = 60.0


def active_generation(number: int) -> re.Pattern[str]:
    return re.compile(rf"Generation {number}\s*\S?\s*active: queries read it")


async def check(found: Visit, name: str, path: str) -> None:
    await found.open(path)
    serious = await found.serious()
    assert serious == [], (name, serious)
    overflows = await found.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflows <= 0, f"{name} is wider than the window by {overflows} px"


async def test_every_page_works_without_an_error_another_host_or_a_serious_finding(
    browser: Browser, console: ConsoleSystem, pictures: Path
) -> None:
    async with visit(browser, console) as found:
        for name, path in PAGES.items():
            await check(found, name, path)
            await found.page.screenshot(path=pictures / f"{name}.png")
        assert found.is_clean()


@pytest.mark.slow
async def test_pages_fit_a_telephone_and_the_dark(browser: Browser, console: ConsoleSystem, tmp_path: Path) -> None:
    async with visit(browser, console, width=360, height=740, dark=True) as found:
        for name, path in PAGES.items():
            await check(found, name, path)
            await found.page.screenshot(path=tmp_path / f"{name}.png")
        assert found.is_clean()


async def test_the_page_may_load_nothing_but_its_own_files(console: ConsoleSystem) -> None:
    answer = await console.queries.get("/console/failures/letters/1")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert POLICY.match(policy)
    assert "unsafe" not in policy


async def test_what_others_wrote_stays_text(browser: Browser, console: ConsoleSystem) -> None:
    groups = (await console.queries.get("/dead-letters/groups?origin=commands")).json()["items"]
    pages = {
        f"failures/letters/{groups[0]['example']}": HOSTILE[0],
        "streams/customers/c-2": HOSTILE[0],
        "streams/products/p-5": HOSTILE[2],
        **{f"streams/orders/order-{index}": text for index, text in enumerate(HOSTILE)},
    }
    async with visit(browser, console) as found:
        for path, text in pages.items():
            await found.open(path)
            for details in await found.page.locator("main details > summary").all():
                await details.click()
            await expect(found.page.locator("main")).to_contain_text(text[2:14], timeout=SHOWN_WITHIN_MS)
        assert await found.page.evaluate("window.broken") is None
        assert found.is_clean()


async def test_who_lacks_a_scope_sees_why_it_may_not_act(browser: Browser, console: ConsoleSystem) -> None:
    async with visit(browser, console, "guest") as found:
        await found.open(f"failures/letters?origin={PROJECTION}")
        await found.page.get_by_role("checkbox").first.check()
        discard = found.page.get_by_role("button", name="Discard")
        await expect(discard).to_have_attribute("aria-disabled", "true")
        assert "dead-letters:discard" in (await discard.get_attribute("title") or "")
        await discard.click(force=True)
        await expect(found.page.get_by_role("dialog")).to_have_count(0)
        await found.open("timeline")
        await expect(found.page.locator("main")).to_contain_text("audit:read")
        assert found.is_clean()


async def test_a_poison_is_found_understood_and_replayed_in_few_clicks(
    browser: Browser, console: ConsoleSystem
) -> None:
    reason = f"the fix is deployed {HOSTILE[1]}"
    async with visit(browser, console) as found:
        page = found.page
        await expect(page.locator("main")).to_contain_text("dead letters for one cause", timeout=SHOWN_WITHIN_MS)
        begun = time.monotonic()
        await (
            page.get_by_role("listitem")
            .filter(has_text=f"{POISONED} dead letters for one cause")
            .get_by_role("link")
            .click()
        )
        found.clicks += 1
        await expect(page.locator("main")).to_contain_text("poisoned for a drill", timeout=SHOWN_WITHIN_MS)
        understood = time.monotonic() - begun
        await console.deploy_the_fix()
        begun = time.monotonic()
        await found.click("Replay all like it")
        await expect(page.locator("main")).to_contain_text("Dry run: nothing was sent", timeout=SHOWN_WITHIN_MS)
        await page.get_by_label("Reason, for the audit").fill(reason)
        await found.click("Freeze, and start", "button")
        await expect(page.locator("main")).to_contain_text("Done:", timeout=MOST_S * 1000)
        seconds = understood + time.monotonic() - begun
        assert found.clicks <= MOST_CLICKS
        assert seconds <= MOST_S
        await found.click("Timeline")
        await expect(page.locator("main")).to_contain_text(reason, timeout=SHOWN_WITHIN_MS)
        assert await page.evaluate("window.broken") is None
        assert found.is_clean()
    print(f"{found.clicks} clicks, {seconds:.1f} s")
    await console.visible(
        "/orders/poisoned-0",
        lambda answer: answer["status"] == "paid" and answer["held"] is None,
    )


@pytest.mark.slow
async def test_a_rebuild_is_compared_activated_and_rolled_back(browser: Browser, console: ConsoleSystem) -> None:
    async with visit(browser, console) as found:
        await found.open("projections/search")
        main = found.page.locator("main")
        await found.act("Rebuild", "to see that it can be", "Nothing that queries read changes")
        await found.act("Compare", "before it is activated", "row by row")
        await expect(main.get_by_role("row", name="compare")).to_contain_text("equal", timeout=4 * SHOWN_WITHIN_MS)
        await found.act("Activate", "both are equal", "both are equal")
        await expect(main).to_contain_text(active_generation(2), timeout=SHOWN_WITHIN_MS)
        await found.act("Roll back", "to see the way back")
        await expect(main).to_contain_text(active_generation(1), timeout=SHOWN_WITHIN_MS)
        for act in ("rebuild", "activate", "rollback"):
            await expect(main.get_by_role("listitem").filter(has_text=act).first).to_be_visible(timeout=SHOWN_WITHIN_MS)
        assert found.is_clean()


@pytest.mark.slow
async def test_a_lost_connection_is_said_and_mended(browser: Browser, console: ConsoleSystem) -> None:
    async with visit(browser, console) as found:
        await console.supervisor.kill("query")
        await expect(found.page.get_by_role("alert").first).to_contain_text("No connection", timeout=SHOWN_WITHIN_MS)
        await console.supervisor.restart("query")
        await expect(found.page.get_by_text("No connection")).to_have_count(0, timeout=SHOWN_WITHIN_MS)
