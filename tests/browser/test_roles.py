"""Every act that the console offers, for every role: what it may works; what it may not is shown with the reason, and refused if forced."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Browser, Locator, expect

from shared.http.identities.scopes import ROLES, allows
from tests.browser.conftest import PROJECTION, ConsoleSystem, order
from tests.browser.page_checks import SHOWN_WITHIN_MS, Visit, visit

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

SOURCES: Final = Path(__file__).parents[2] / "deploy" / "console" / "src"
REASON: Final = "to see who may"


@dataclass(frozen=True)
class OfferedAct:
    """``request``: method, path and body of the same act on something that there is not: only rights decide about it.

    ``works``: carried out in the browser by each role that may; ``confirm``: what its dialog's button says then.
    """

    page: str
    label: str
    scope: str
    request: tuple[str, str, Mapping[str, Any]]
    works: bool = False
    confirm: str = ""
    service: str = "queries"
    shown: bool = True
    """Whether its page offers it without a fault that tests of a browser do not make."""


NONE: Final = 999_999
GENERATION: Final = {"generation": NONE}
ACTS: Final[Sequence[OfferedAct]] = (
    OfferedAct(
        "failures?origin=commands",
        "Owner, note, snooze",
        "dead-letters:annotate",
        ("POST", "/dead-letters/groups/annotate", {"origin": "commands", "fingerprint": "none"}),
        works=True,
        confirm="Keep",
    ),
    OfferedAct(
        "failures/letters/{edited}",
        "Edit and send",
        "dead-letters:edit",
        ("POST", "/dead-letters/edit", {"letter_id": NONE, "data": {}}),
        works=True,
    ),
    OfferedAct(
        "failures/letters/{discarded}",
        "Discard",
        "dead-letters:discard",
        ("POST", "/dead-letters/discard", {"selection": {"letter_ids": [NONE]}}),
        works=True,
    ),
    *(
        OfferedAct("failures/jobs/{job}", label, "dead-letters:replay", ("POST", f"/dead-letters/jobs/{NONE}/{to}", {}))
        for label, to in (("Pause", "pause"), ("Resume", "resume"), ("Cancel the job", "cancel"))
    ),
    OfferedAct(
        f"projections/{PROJECTION}",
        "Rebuild",
        "projections:rebuild",
        ("POST", "/projections/none/rebuild", {}),
    ),
    OfferedAct(
        f"projections/{PROJECTION}", "Roll back", "projections:activate", ("POST", "/projections/none/rollback", {})
    ),
    OfferedAct(
        f"projections/{PROJECTION}",
        "Compare",
        "checks:run",
        ("POST", "/checks/compare", {"projections": ["none"], **GENERATION}),
    ),
    *(
        OfferedAct(
            f"projections/{PROJECTION}", label, "projections:activate", ("POST", f"/projections/none/{to}", GENERATION)
        )
        for label, to in (("Activate", "activate"), ("Drop", "drop"))
    ),
    OfferedAct(
        f"projections/{PROJECTION}",
        "Adopt epoch",
        "projections:activate",
        ("POST", "/projections/none/adopt-epoch", GENERATION),
        shown=False,
    ),
    OfferedAct("proof", "Verify", "checks:run", ("POST", "/checks/verify", {"projections": ["none"]})),
    *(
        OfferedAct(
            "processes/fulfilment/managed-1",
            label,
            "processes:act",
            ("POST", f"/processes/none/{label.lower()}", {"name": "fulfilment"}),
        )
        for label in ("Retry", "Cancel", "Compensate")
    ),
    OfferedAct(
        "commands/scheduled",
        "Move",
        "scheduled:act",
        ("PATCH", "/scheduled-commands/none?source=http", {"notbefore": "2090-01-01T00:00:00Z"}),
        works=True,
        service="commands",
    ),
    OfferedAct(
        "commands/scheduled",
        "Cancel",
        "scheduled:act",
        ("DELETE", "/scheduled-commands/none?source=http", {}),
        works=True,
        service="commands",
    ),
    OfferedAct("", "Switch to read-only", "operations:read-only", ("POST", "/read-only/off", {})),
)
OWN_FORMS: Final = {"Replay.svelte": "dead-letters:replay", "Command.svelte": "commands:customers.register-customer"}
"""Pages whose act is a form of their own."""


def test_every_act_of_the_sources_is_among_those_that_are_tested() -> None:
    scopes, labels = set(), set()
    for path in SOURCES.rglob("*.svelte"):
        text = path.read_text()
        if "<Act" in text:
            scopes |= set(re.findall(r'scope="([a-z:-]+)"', text))
            labels |= set(re.findall(r'(?:<Act\s+label=|label: )"([^"]+)…"', text))
    assert len(labels) > 10
    assert scopes <= {act.scope for act in ACTS}
    assert labels <= {act.label for act in ACTS}


@dataclass
class Places:
    """What the acts of one role are about: made by an administrator."""

    letters: Sequence[int]
    job: int
    names: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.names = {"edited": self.letters[0], "discarded": self.letters[1], "job": self.job}


async def places(console: ConsoleSystem, role: str) -> Places:
    letters = await console.dead_commands(*(f"{role}-{number}" for number in range(5)))
    body = {"selection": {"letter_ids": letters[2:]}, "reason": REASON, "rate": 0.1, "canary": 0}
    job = (await console.queries.post("/dead-letters/replay", json=body)).json()["job_id"]
    assert (await console.queries.post(f"/dead-letters/jobs/{job}/pause", json={"reason": REASON})).is_success
    for number in range(2):
        body = order(f"later-{role}-{number}", "c-1", 0)
        headers = {"Authorization": f"Bearer {console.keys['admin']}"}
        later = await console.commands.post(
            "/commands/orders.place-order?notbefore=2090-01-01T00:00:00Z", json=body, headers=headers
        )
        assert later.is_success, later.text
    return Places(letters, job)


@pytest.mark.parametrize("role", ROLES)
async def test_what_a_role_may_works_and_what_it_may_not_is_refused(
    browser: Browser, console: ConsoleSystem, role: str
) -> None:
    found_places = await places(console, role)
    async with visit(browser, console, role) as found:
        shown = ""
        for act in (each for each in ACTS if each.shown):
            page = act.page.format(**found_places.names)
            if page != shown:
                await found.open(page)
                shown = page
            await check_in_browser(found, act, allowed=allows(ROLES[role].scopes, act.scope))
        await check_forms(found, role, found_places)
        assert found.is_clean()
    for act in ACTS:
        await check_forced(console, act, role)


async def check_in_browser(found: Visit, act: OfferedAct, *, allowed: bool) -> None:
    if act.scope == "operations:read-only":
        await found.page.locator(".tools button").last.click()
    button = found.page.locator("button", has_text=f"{act.label}…").first
    if act.service == "commands" and not allowed:
        await expect(button).to_have_count(0)  # those of others are not in the list
        return
    await expect(button).to_be_visible(timeout=SHOWN_WITHIN_MS)
    if not allowed:
        await is_refused(found, button, act.scope)
        return
    assert act.scope not in (await button.get_attribute("title") or ""), act
    if act.label == "Verify":
        await verify(found)
    elif act.works:
        await found.act(act.label, REASON, confirm=act.confirm)


async def verify(found: Visit) -> None:
    """It leads to the page of the verification."""
    await found.page.get_by_role("button", name="Verify…").click()
    dialog = found.page.get_by_role("dialog")
    await dialog.get_by_label("Reason, for the audit").fill(REASON)
    await dialog.get_by_role("button", name="Verify", exact=True).click()
    await found.page.wait_for_url(re.compile(r"/console/proof/\d+$"), timeout=SHOWN_WITHIN_MS)


async def is_refused(found: Visit, button: Locator, scope: str) -> None:
    """It says which scope it needs, also to screen readers, and does nothing."""
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_have_attribute("title", re.compile(re.escape(scope)))
    assert scope in (await button.inner_text() or await button.text_content() or "")
    dialogs = await found.page.get_by_role("dialog").count()
    await button.click(force=True)
    await expect(found.page.get_by_role("dialog")).to_have_count(dialogs)


async def check_forms(found: Visit, role: str, where: Places) -> None:
    """The replay wizard, for a letter that is still live: the last of the paused job, and a command's form."""
    main = found.page.locator("main")
    granted = ROLES[role].scopes
    await found.open(f"failures/replay?letters={where.letters[2]}")
    dry_run = "Dry run" if allows(granted, OWN_FORMS["Replay.svelte"]) else OWN_FORMS["Replay.svelte"]
    await expect(main).to_contain_text(dry_run, timeout=SHOWN_WITHIN_MS)
    needed = OWN_FORMS["Command.svelte"]
    await found.open("commands/customers.register-customer")
    if not allows(granted, needed):
        await expect(main).to_contain_text(needed, timeout=SHOWN_WITHIN_MS)
        await expect(main.get_by_role("button", name="Send")).to_be_disabled()
        return
    await expect(main).not_to_contain_text(f"needs the scope {needed}")


async def check_forced(console: ConsoleSystem, act: OfferedAct, role: str) -> None:
    """The services decide by themselves, whatever a page lets one press."""
    method, path, body = act.request
    client: httpx.AsyncClient = console.commands if act.service == "commands" else console.queries
    answer = await client.request(
        method,
        path,
        params={"reason": REASON} if act.service == "commands" else None,
        json=None if method == "DELETE" else {**body, **({"reason": REASON} if act.service == "queries" else {})},
        headers={"Authorization": f"Bearer {console.keys[role]}"},
    )
    if allows(ROLES[role].scopes, act.scope):
        assert answer.status_code not in (401, 403), (act, answer.text)
    elif act.service == "commands":
        # Without the scope one has one's own scheduled commands only: another's is not there.
        assert answer.status_code in (403, 404), (act, answer.text)
    else:
        assert answer.status_code == 403, (act, answer.text)
        assert act.scope in answer.json()["scopes"]
