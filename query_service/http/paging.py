"""Keyset paging: each page continues after the last item of the page before, regardless of inserts in between.

A cursor is opaque, URL-safe text: the sort key of the last item, and a fingerprint of the query (route and filters). It is valid for
that query only and is refused for any other. It contains no secrets and grants no access, so it is not signed; it is validated like
any other parameter.
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter
from pydantic import BaseModel, Field

from query_service.http.problems import InvalidParameterError

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Maximum number of items on a page.")]
Cursor = Annotated[
    str | None,
    QueryParameter(description="`next_cursor` of the previous page, with the same filters.", max_length=2000),
]


class SortKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sort key of a list; a cursor holds that of the last item."""


class VersionKey(SortKey, frozen=True):
    """The sort key of lists ordered by version."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


Key = TypeVar("Key", bound=SortKey)
Item = TypeVar("Item")

_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]+")


class Page(BaseModel, Generic[Item]):
    """One page; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = Field(description="Send it as `cursor` to get the next page.")


class ListQuery:
    """The list query that a cursor is bound to: the route's name and its filters, as given."""

    def __init__(self, route: str, *filters: object) -> None:
        self._fingerprint = blake2b(repr((route, filters)).encode(), digest_size=6).hexdigest()

    def cursor(self, key: SortKey) -> str:
        raw = msgspec.json.encode((self._fingerprint, key))
        return urlsafe_b64encode(raw).rstrip(b"=").decode()

    def key(self, cursor: str, shape: type[Key]) -> Key:
        """The sort key in ``cursor``. Raises InvalidParameterError if it is not a valid cursor, or belongs to another query."""
        if not _ALPHABET.fullmatch(cursor):
            raise _malformed()
        try:
            raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            fingerprint, key = msgspec.json.decode(raw, type=tuple[str, msgspec.Raw])
            if fingerprint != self._fingerprint:
                raise InvalidParameterError("cursor", "belongs to another query; keep the filters or leave it out")
            found = msgspec.json.decode(key, type=shape)
        except (binascii.Error, msgspec.MsgspecError, UnicodeError) as error:
            raise _malformed() from error
        if any(isinstance(part, str) and "\x00" in part for part in msgspec.structs.astuple(found)):
            raise _malformed()
        return found


def page(items: Iterable[str], next_cursor: str | None, **more: str) -> bytes:
    """A page as JSON. ``items``: JSON texts; ``more``: further members, also JSON texts."""
    members = "".join(f',"{name}":{text}' for name, text in more.items())
    following = "null" if next_cursor is None else f'"{next_cursor}"'
    return f'{{"items":[{",".join(items)}],"next_cursor":{following}{members}}}'.encode()


def _malformed() -> InvalidParameterError:
    return InvalidParameterError("cursor", "is not a cursor of this service")
