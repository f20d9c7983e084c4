"""``GET /status``: what ``tidemark status`` says, over HTTP, from real stores."""

import httpx

from tests.integration.dead_letters.harness import Harness


async def test_a_dead_letter_is_a_finding_that_says_where_to_look(ann: httpx.AsyncClient, harness: Harness) -> None:
    before = (await ann.get("/status")).json()
    assert "held" not in {finding["kind"] for finding in before["findings"] if finding["where"] == "search"}
    await harness.die("orders/o-1")
    await harness.statuses(dead=1)
    letter = (await ann.get("/dead-letters")).json()["items"][0]["id"]
    answer = (await ann.get("/status")).json()
    [finding] = [each for each in answer["findings"] if each["see"] == f"/dead-letters/{letter}"]
    assert finding["kind"] == "held"
    assert finding["next"] == f"tidemark dead-letters show {letter}"
    assert "held" in answer["verdict"]
    assert answer["dead_letters"] == 1
