"""Searches by stem, in a language that the question names: ``running shoes`` finds ``run`` and ``shoe``, by PostgreSQL's dictionaries.

Stems are looked for besides the words as typed, never instead of them. There is an index over them only in the languages that the
operator has chosen (``TIDEMARK_SEARCH_LANGUAGES``), see ``projectors/models/search/migrations/0006_product_facts.sql``. Stemming applies
to folded words, so an accent makes no difference to it either.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from litestar.params import QueryParameter

from query_service.http.problems import InvalidParameterError
from query_service.search import search_terms
from query_service.stores.postgres_store import PostgresStore
from shared.views.search import Language

# The stem of each word ($1) in a language ($2), and whether products are indexed by such stems.
STEMS: Final = """
SELECT to_regclass('products_stems_' || $2::text) IS NOT NULL AS indexed, (
    SELECT coalesce(json_object_agg(word, coalesce((ts_lexize(($2 || '_stem')::regdictionary, word))[1], word)), '{}')
    FROM unnest($1::text[]) AS word
)::text AS stems
"""

_WORD: Final = re.compile(r"'([^']+)'")

InLanguage = Annotated[
    Language | None,
    QueryParameter(
        description="Words also match by their stem in this language (`running` matches `run`), after those that match as typed; not if"
        " there is a quotation mark in `q`. Only languages in which the service indexes stems (`TIDEMARK_SEARCH_LANGUAGES`)."
    ),
]


@dataclass(frozen=True, slots=True)
class StemQuery:
    dictionary: str
    """Of PostgreSQL."""
    query: str
    """A tsquery."""


async def stem_query(store: PostgresStore, q: str | None, language: Language | None) -> StemQuery | None:
    """The search text as a query of stems; None if there is nothing to stem. Raises InvalidParameterError for a language without index."""
    if language is None:
        return None
    verbatim = "" if q is None or '"' in q else search_terms.tsqueries(q).verbatim
    row = await store.fetchrow(STEMS, list(dict.fromkeys(_WORD.findall(verbatim))), language)
    if row is None or not row["indexed"]:
        raise InvalidParameterError("language", f"stems in {language} are not indexed: see TIDEMARK_SEARCH_LANGUAGES")
    stems = msgspec.json.decode(row["stems"], type=dict[str, str])
    query = _WORD.sub(lambda found: f"'{stems[found[1]]}'", verbatim)
    return StemQuery(f"{language}_stem", query) if query else None
