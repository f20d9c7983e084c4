"""Signing in to the console through an OpenID provider, out again, and what happens when something does not fit, or the time is over."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from shared.http.identities.scopes import ROLES
from tests.browser.conftest import ConsoleSystem
from tests.browser.page_checks import SHOWN_WITHIN_MS, Visit, visit
from tests.oidc_provider import ALLOW

pytestmark = pytest.mark.timeout(120)

OPERATOR = {"sub": "ann@example.org", "scope": " ".join(ROLES["operator"].scopes)}
SHORT_S = 4


async def sign_in(found: Visit) -> None:
    await found.page.get_by_role("button", name="Continue with single sign-on").click()
    await found.page.get_by_role("link", name=ALLOW).click(timeout=SHOWN_WITHIN_MS)


async def test_a_person_signs_in_with_the_provider_and_out_again(
    browser: Browser, console: ConsoleSystem, pictures: Path
) -> None:
    console.provider.person = OPERATOR
    async with visit(browser, console, role="") as found:
        page = found.page
        await page.goto(f"{console.url}/console/projections?of=this")
        await expect(page.get_by_label("API key")).to_be_visible(timeout=SHOWN_WITHIN_MS)
        assert await found.serious() == []
        await page.screenshot(path=pictures / "sign-in.png")
        await sign_in(found)
        await found.read()
        assert page.url == f"{console.url}/console/projections?of=this"
        account = page.get_by_role("button", name="ann@example.org (operator)")
        await account.click()
        ended = console.provider.ended
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("API key")).to_be_visible(timeout=SHOWN_WITHIN_MS)
        await page.wait_for_url(f"{console.url}/console/")
        assert console.provider.ended == ended + 1
        assert not any((await page.evaluate("({...sessionStorage})")).values())
        assert found.is_clean()


@pytest.mark.parametrize("wrong", ["state", "issuer", "nonce", "audience"])
async def test_what_does_not_fit_is_refused_without_a_detail(
    browser: Browser, console: ConsoleSystem, wrong: str
) -> None:
    async with visit(browser, console, role="") as found:
        console.provider.wrong = wrong
        try:
            await sign_in(found)
            alert = found.page.get_by_role("alert")
            await expect(alert).to_contain_text("not accepted: begin again", timeout=SHOWN_WITHIN_MS)
        finally:
            console.provider.wrong = ""
        assert wrong not in (await alert.inner_text())
        assert await found.page.evaluate("sessionStorage.getItem('tidemark-key')") in (None, "")
        assert found.is_clean()


async def test_an_answer_that_nobody_asked_for_signs_no_one_in(browser: Browser, console: ConsoleSystem) -> None:
    async with visit(browser, console, role="") as found:
        await found.page.goto(f"{console.url}/console/?code=stolen&state=made-up")
        await expect(found.page.get_by_role("alert")).to_contain_text("begin again", timeout=SHOWN_WITHIN_MS)
        assert found.page.url == f"{console.url}/console/"


async def test_a_session_that_is_over_says_so_and_comes_back_to_its_page(
    browser: Browser, console: ConsoleSystem
) -> None:
    async with visit(browser, console, role="") as found:
        await found.page.goto(f"{console.url}/console/processes")
        console.provider.person = OPERATOR | {"exp": console.provider.seconds_from_now(SHORT_S)}
        await sign_in(found)
        await found.read()
        await expect(found.page.get_by_role("alert")).to_contain_text("no longer signed in", timeout=SHOWN_WITHIN_MS)
        console.provider.person = OPERATOR
        await sign_in(found)
        await found.read()
        assert found.page.url == f"{console.url}/console/processes"
        assert found.is_clean()
