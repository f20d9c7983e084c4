"""Every word of a name finds it: alone, and unfinished from three characters on."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import count, pairwise
from unicodedata import normalize

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.demo.shop.source import PRODUCT_COLUMNS, product_name, retail_folder
from deploy.servers.provide import Servers
from query_service.search.search_terms import tsqueries
from shared.views.search_text import JOINERS, words
from tests.integration.query_service.searching import Searching, searching

MISSED = """
SELECT name, typed FROM (
    SELECT typed, query::tsquery, products FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (typed, query, products) OFFSET 0
) AS parsed_once
CROSS JOIN LATERAL string_to_table(products, ' ') AS product_id
JOIN products USING (product_id)
WHERE NOT terms @@ query
"""
SPACED = [
    *(
        "abcxyz",
        "ABCXYZ",
        "0123456789",
        "éüñçåøœßğıİ",
        "ΑΒΓάέώς",
        "АБВйёъ",
        "אבגשׁ",
        "ابةحَّ",
        "कखहिन्दी",
        "ＡＢ１２",
        "ﬁ№㎏",
    ),
]
"""Letters, marks and digits of scripts that have spaces; marks stand behind a letter."""
DENSE = "有機緑茶東京ティーバッグひらがな서울우유ไทยລາວမခ"
SEPARATORS = [" ", "\t", "\u3000", ", ", "; ", " / ", " & ", " (", ") ", "!", "…", "™ ", "\n", " - ", "・"]
NUMBERS = count()


def spaced_word() -> st.SearchStrategy[str]:
    return st.sampled_from(SPACED).flatmap(
        lambda letters: st.builds(
            str.__add__, st.sampled_from([one for one in letters if one.isalnum()]), st.text(letters, max_size=7)
        )
    )


def names() -> st.SearchStrategy[tuple[str, list[str]]]:
    """A name, and the words that it was put together from, as they are typed."""
    dense = st.text(DENSE, min_size=1, max_size=12)
    compound = st.lists(spaced_word(), min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from(JOINERS).map(lambda joiner: (joiner.join(parts), [*parts, joiner.join(parts)]))
    )
    piece = st.one_of(compound, dense.map(lambda text: (text, [text, *map("".join, pairwise(text))])))
    return st.lists(piece, min_size=1, max_size=5).flatmap(
        lambda pieces: st.sampled_from(SEPARATORS).map(
            lambda separator: (separator.join(text for text, _ in pieces), [word for _, all in pieces for word in all])
        )
    )


@pytest.fixture(scope="module")
async def store(servers: Servers) -> AsyncIterator[Searching]:
    async with searching(servers) as store:
        yield store


async def missed(store: Searching, typed: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """(name, what was typed) of all that does not find the product, of these products."""
    expected: dict[str, list[str]] = {}
    for product_id, all_typed in typed.items():
        for one in set(all_typed):
            expected.setdefault(one, []).append(product_id)
    queries = [tsqueries(one).query for one in expected]
    columns = [*expected], queries, [" ".join(products) for products in expected.values()]
    return [tuple(row) for row in await store.owner.fetch(MISSED, *columns)]


@settings(max_examples=40)
@given(st.lists(names(), min_size=1, max_size=6))
async def test_every_word_of_a_name_finds_it_however_it_is_written(
    store: Searching, named: list[tuple[str, list[str]]]
) -> None:
    typed = {f"p-{next(NUMBERS)}": name_and_words for name_and_words in named}
    await store.products({product_id: name for product_id, (name, _) in typed.items()})
    assert not await missed(store, {key: all_written(parts) for key, (_, parts) in typed.items()})


def all_written(typed: Iterable[str]) -> Iterator[str]:
    for word in typed:
        yield from (word, f"{word} ", word.upper(), word.lower(), normalize("NFD", word), normalize("NFKC", word))


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40), min_size=1))
async def test_every_word_of_any_text_finds_it_alone_in_a_compound_and_unfinished(
    store: Searching, texts: list[str]
) -> None:
    named = {f"p-{next(NUMBERS)}": text for text in texts}
    await store.products(named)
    typed = {
        product_id: {typed for word in words(text) for typed in (word, f"{word} ", word[:3])}
        for product_id, text in named.items()
    }
    assert not await missed(store, typed)


async def test_every_word_of_every_product_of_the_demo_finds_it_also_unfinished(servers: Servers) -> None:
    catalogue = pq.read_table(retail_folder() / "products.parquet", columns=PRODUCT_COLUMNS).to_pylist()
    names = sorted({product_name(row["product_id"], row) for row in catalogue})
    assert len(names) > 10_000
    async with searching(servers) as store:
        await store.products({str(number): name for number, name in enumerate(names)})
        seen: set[str] = set()
        assert not await missed(store, {str(number): typings(name, seen) for number, name in enumerate(names)})
        for number in range(0, len(names), 1000):
            for word in words(names[number]):
                answer = await store.client.get("/search/products", params={"q": f'"{names[number]}" {word}'})
                assert str(number) in [hit["product_id"] for hit in answer.json()["items"]]


def typings(name: str, seen: set[str]) -> Iterator[str]:
    """Each word finished and unfinished, and the same of what has no spaces in it: from three characters on, every length once for each
    word, for each name the shortest and the longest.
    """
    for word in (*words(name), *(piece for piece in name.split() if piece[0].isalnum())):
        yield from (f"{word} ", word, word[:3])
        if word not in seen:
            seen.add(word)
            yield from (word[:length] for length in range(4, len(word)))
