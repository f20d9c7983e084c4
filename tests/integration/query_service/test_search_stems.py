"""Words match by their stem as well, in a language that the question names and the operator has chosen."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from pydantic import ValidationError

from deploy.servers.provide import Servers
from projectors.models.search.store import SearchStore
from query_service.routes.shop import search as route
from shared.runtime.settings import Settings
from shared.views.search import Language
from tests.integration.query_service.searching import Searching, searching

NAMES: Final = {
    "run": "Run, the game",
    "runner": "Running shoe, blue",
    "shoes": "Shoes for a run",
    "creme": "Crème brûlée torches",
    "tea": "有機緑茶ティーバッグ drinks",
    "mug": "Mug",
}


@pytest.fixture(scope="module")
async def catalogue(servers: Servers) -> AsyncIterator[Searching]:
    async with searching(servers) as found:
        await found.products({"run": NAMES["run"]})
        # From then on with an index, which has what is there already; twice, as two processes of a projector do.
        for _ in range(2):
            indexing = SearchStore(servers.stores["search"], found.schema, languages=[Language.ENGLISH])
            await indexing.open()
            await indexing.close()
        await found.products({product_id: name for product_id, name in NAMES.items() if product_id != "run"})
        yield found


async def search(catalogue: Searching, **params: Any) -> dict[str, Any]:
    answer = await catalogue.client.get("/search/products", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    ("q", "as_typed", "by_stem"),
    [
        ("running ", ["runner"], {"run", "runner", "shoes"}),
        ("runs shoe ", ["shoes"], {"runner", "shoes"}),
        ("running or torch ", ["creme", "runner"], {"run", "runner", "shoes", "creme"}),
        ("runs -blue ", ["run", "shoes"], {"run", "shoes"}),
        ("brulees ", ["creme"], {"creme"}),
        ("緑茶 drinking ", [], {"tea"}),
        ("mugging ", [], {"mug"}),
        ('"running" ', ["runner"], {"runner"}),
    ],
)
async def test_stems_are_found_besides_the_words(
    catalogue: Searching, q: str, as_typed: list[str], by_stem: set[str]
) -> None:
    plain = await search(catalogue, q=q)
    if plain["matched"] == "words":
        assert sorted(hit["product_id"] for hit in plain["items"]) == sorted(as_typed)
    body = await search(catalogue, q=q, language="english")
    assert (body["matched"], body["total"]) == ("words", len(by_stem))
    assert {hit["product_id"] for hit in body["items"]} == by_stem


async def test_what_matches_as_typed_comes_first_and_pages_go_on_below_zero(catalogue: Searching) -> None:
    body = await search(catalogue, q="running ", language="english")
    scores = {hit["product_id"]: hit["score"] for hit in body["items"]}
    assert body["items"][0]["product_id"] == "runner"
    assert [score < 0 for score in scores.values()] == [False, True, True]
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = await search(catalogue, q="running ", language="english", limit=1, **cursor)
        found += [hit["product_id"] for hit in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert found == list(scores)


async def test_a_filter_that_leaves_nothing_is_no_reason_to_look_for_similar_words(catalogue: Searching) -> None:
    body = await search(catalogue, q="mugging ", language="english", min_price=999)
    assert (body["matched"], body["total"]) == ("words", 0)


@pytest.mark.parametrize("language", ["german", "klingon"])
async def test_a_language_without_an_index_is_refused(catalogue: Searching, language: str) -> None:
    answer = await catalogue.client.get("/search/products", params={"q": "mug", "language": language})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-parameter")


async def test_stems_are_found_by_their_index(catalogue: Searching) -> None:
    connection = catalogue.owner
    await connection.execute("SET enable_seqscan = off")
    arguments: tuple[Any, ...] = (
        "'running'",
        "'running'",
        "",
        None,
        False,
        None,
        [],
        None,
        None,
        None,
        None,
        None,
        None,
    )
    rows = await connection.fetch(
        f"EXPLAIN {route.PRODUCTS}", *arguments, "relevance", 1e9, "", 51, "english_stem", "'run'"
    )
    assert "products_stems_english" in "\n".join(row[0] for row in rows)


def test_the_setting_names_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_SEARCH_LANGUAGES", "english,german")
    assert Settings().stemmed_languages == [Language.ENGLISH, Language.GERMAN]
    monkeypatch.setenv("TIDEMARK_SEARCH_LANGUAGES", "english,klingon")
    with pytest.raises(ValidationError, match="klingon"):
        Settings()
