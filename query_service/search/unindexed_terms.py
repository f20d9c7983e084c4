"""Translates search text for rows that have no terms yet: see ``projectors/models/search/migrations/0004_terms.sql``. Generations
created since then have no such rows.

Quotes, ``or`` and a leading ``-`` have the meaning that ``websearch_to_tsquery`` gives them. The last word is also a prefix, unless it is
quoted, excluded or joined to another.
"""

import re
from dataclasses import dataclass
from typing import Final

_LAST: Final = re.compile(r"(?P<head>.*(?:^|\s))(?P<last>\w+)\Z", re.DOTALL)
_OR: Final = re.compile(r"(?:^|\s)or\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FormerQuery:
    """The arguments of the SQL function ``former_query``."""

    head: str
    last: str | None
    either: bool


def former_query(q: str) -> FormerQuery:
    found = _LAST.match(q)
    if found is None or q.count('"') % 2 or found["last"].lower() == "or":
        return FormerQuery(q, None, either=False)
    return FormerQuery(found["head"], found["last"], either=bool(_OR.search(found["head"])))
