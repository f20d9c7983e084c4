"""Search for doctors by name and speciality. ``search.search_terms`` parses the search text."""

import math
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response
from litestar.params import QueryParameter
from pydantic import Field

from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.problems import InvalidParameterError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.search import search_terms
from query_service.stores.postgres_store import PostgresStore
from shared.views.bookings import DoctorHit

DOCTORS: Final = Path(__file__).with_name("search_doctors.sql").read_text()

# The longest of the words ($1, in order of length) to which a word of any doctor's name is similar.
SIMILAR_NAME: Final = """
SELECT word FROM unnest($1::text[]) WITH ORDINALITY AS asked (word, place)
WHERE EXISTS (SELECT FROM doctors WHERE word <% name) ORDER BY place LIMIT 1
"""
ANY_DOCTOR: Final = "SELECT EXISTS (SELECT FROM doctors WHERE terms @@ $1::text::tsquery) AS found"
DOCTOR_ROW: Final = "SELECT (to_jsonb(doctors) - 'terms')::text AS body FROM doctors WHERE doctor_id = $1"

Mode = Literal["words", "similar", "filters"]
_Terms = tuple[str | None, str | None, str | None, list[str]]
"""The first four parameters of DOCTORS, which select by words or by similarity."""


class DoctorKey(SortKey, frozen=True):
    mode: Mode
    score: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
    doctor_id: str


Speciality = Annotated[
    str | None, QueryParameter(description="Only doctors of this speciality; exact spelling.", max_length=200)
]


class DoctorHits(Page[DoctorHit]):
    total: int = Field(description="The exact number of matching doctors.")
    matched: Mode = Field(
        description="`words`: name and speciality contain the words. `similar`: no doctor has them; these have similarly spelt names."
        " `filters`: there was no search text."
    )


@read_route("/search/doctors", needs="queries:bookings", tags=["search"], summary="Find doctors")
async def search_doctors(
    request: QueryRequest,
    q: search_terms.OptionalWords = None,
    speciality: Speciality = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[DoctorHits]:
    """Doctors by the words of their name and speciality, the best match first. If none has them, doctors with similarly spelt names.

    `q` may be omitted only if there is a `speciality`.
    """
    if q is not None and not q.strip():
        raise InvalidParameterError("q", "is empty")
    if q is None and speciality is None:
        raise InvalidParameterError("q", "is required unless there is a filter")
    query = ListQuery("search-doctors", q, speciality)
    after = query.key(cursor, DoctorKey) if cursor else None
    store, as_of = await request.read(request.stores.postgres("search"))
    mode = after.mode if after else await _mode(store, q)
    score, doctor_id = (after.score, after.doctor_id) if after else (math.inf, "")
    row = await store.fetchrow(DOCTORS, *await _terms_for(store, mode, q), speciality, score, doctor_id, limit + 1)
    assert row is not None  # noqa: S101 (the statement always gives one row)
    following = None
    if len(row["items"]) > limit:
        following = query.cursor(DoctorKey(mode, row["scores"][limit - 1], row["ids"][limit - 1]))
    body = page(row["items"][:limit], following, total=str(row["total"]), matched=f'"{mode}"')
    return conditional_response(request, body, as_of)


async def _mode(store: PostgresStore, q: str | None) -> Mode:
    """By words, unless no doctor has them, of whatever speciality: so a filter never causes a similarity search, nor do quotes."""
    if q is None:
        return "filters"
    row = await store.fetchrow(ANY_DOCTOR, search_terms.tsqueries(q).query)
    return "words" if search_terms.is_exact(q) or (row is not None and row["found"]) else "similar"


async def _terms_for(store: PostgresStore, mode: Mode, q: str | None) -> _Terms:
    if q is None or mode == "filters":
        return None, None, None, []
    if mode == "words":
        tsqueries = search_terms.tsqueries(q)
        return tsqueries.query, tsqueries.verbatim, None, []
    plain = search_terms.bare_words(q)
    similar = await store.fetchrow(SIMILAR_NAME, plain) if plain else None
    return None, None, similar["word"] if similar else "", plain


STORED: Final = {("search", "doctors"): StoredDocument(DOCTOR_ROW, "queries:bookings")}
ROUTES: Final = (search_doctors,)
