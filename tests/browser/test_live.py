"""How soon a page shows something, how soon a change is on it, and that a replay's figures are right after the query service was killed."""

import asyncio
import re
import statistics
import time
from typing import Final

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import ConsoleSystem
from tests.browser.page_checks import SHOWN_WITHIN_MS, Visit, visit

pytestmark = pytest.mark.timeout(180)

SAMPLES: Final = 5
MOST_S: Final = 5.0
"""For a machine that does much else; the figures are printed."""
LETTERS: Final = 24
A_SECOND: Final = 4
DONE: Final = re.compile(r"(\d+) of (\d+) have a result")


async def test_a_page_is_shown_and_a_change_is_on_it_within_a_second(browser: Browser, console: ConsoleSystem) -> None:
    async with visit(browser, console) as found:
        painted = [await seconds_to_paint(found) for _ in range(SAMPLES)]
        await found.open("failures/letters?origin=commands")
        await found.open("failures?origin=commands")
        late = [await seconds_late(found, console, f"change-{number}") for number in range(SAMPLES)]
        assert found.is_clean()
    for what, figures in (("the verdict of Now, from the request", painted), ("a change, after it is visible", late)):
        print(f"{what}: median {statistics.median(figures):.2f} s, at most {max(figures):.2f} s")
        assert statistics.median(figures) < MOST_S


async def seconds_to_paint(found: Visit) -> float:
    begun = time.monotonic()
    await found.page.goto(f"{found.system.url}/console/", wait_until="commit")
    await found.page.locator("main section.verdict h1").wait_for(timeout=SHOWN_WITHIN_MS)
    return time.monotonic() - begun


async def seconds_late(found: Visit, console: ConsoleSystem, name: str) -> float:
    """From when the query service answers with a new cause of dead letters to when the page shows it."""
    shown = asyncio.create_task(found.page.get_by_text(f"the first of them is {name}").first.wait_for())
    await console.dead_commands(name)
    visible = time.monotonic()
    await shown
    return max(0.0, time.monotonic() - visible)


@pytest.mark.slow
async def test_the_figures_of_a_replay_are_right_after_the_query_service_was_killed(
    browser: Browser, console: ConsoleSystem
) -> None:
    letters = await console.dead_commands(*(f"replayed-{number}" for number in range(LETTERS)))
    body = {"selection": {"letter_ids": letters}, "reason": "for a kill", "rate": A_SECOND, "canary": 0}
    job = (await console.queries.post("/dead-letters/replay", json=body)).json()["job_id"]
    async with visit(browser, console) as found:
        await found.open(f"failures/jobs/{job}")
        main = found.page.locator("main")
        await expect(main).to_contain_text(re.compile(rf"[1-9]\d* of {LETTERS} have a result"), timeout=SHOWN_WITHIN_MS)
        await console.supervisor.kill("query")
        await expect(found.page.get_by_role("alert").first).to_contain_text("No connection", timeout=SHOWN_WITHIN_MS)
        await console.supervisor.restart("query")
        await expect(found.page.get_by_text("No connection")).to_have_count(0, timeout=SHOWN_WITHIN_MS)
        before = await console.visible(f"/dead-letters/jobs/{job}", lambda one: one["id"] == job)
        await expect(main).to_contain_text(DONE, timeout=SHOWN_WITHIN_MS)
        shown = DONE.search(await main.inner_text())
        after = await console.visible(f"/dead-letters/jobs/{job}", lambda one: one["id"] == job)
        assert shown is not None
        assert before["succeeded"] - A_SECOND <= int(shown[1]) <= after["succeeded"]
        await expect(main).to_contain_text(f"{LETTERS} of {LETTERS} have a result", timeout=4 * SHOWN_WITHIN_MS)
        await expect(main).to_contain_text(f"Done: {LETTERS} letters applied", timeout=SHOWN_WITHIN_MS)
    for number in range(LETTERS):
        await console.visible(f"/customers/replayed-{number}", lambda one: one["version"] == 1)
