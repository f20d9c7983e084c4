"""ETags: a response and its tag change together, so that ``If-None-Match`` never hides a change (RFC 9110 §13.1.2).

A tag is ``"<versions>-<digest>"``: the versions of the streams that the response is made from (its own first, then those that it takes
names from), and a digest of the body. The digest also distinguishes two builds of a projection, which may differ for the same versions.
Lists have only the digest.
"""

from collections.abc import Mapping
from typing import Any, Final

from litestar import MediaType, Request, Response

from shared.http.etags import etag, matches

WHOLE: Final = "tidemark.whole"
"""Key in the scope of a request whose answer is shared with others: it is sent whole, and ``not_modified`` is asked for each client."""


def conditional_response(
    request: Request[Any, Any, Any],
    body: bytes,
    as_of: Mapping[str, str],
    *versions: int,
    media_type: str = MediaType.JSON,
) -> Response[Any]:
    """200 with ``body`` (text, sent unchanged), or 304 without it; both with ``ETag`` and the headers ``as_of``."""
    headers = {"ETag": etag(body, *versions), "Cache-Control": "private, no-cache", **as_of}
    if WHOLE not in request.scope and (unchanged := not_modified(request, headers)):
        return unchanged
    return Response(body, media_type=media_type, headers=headers)


def not_modified(request: Request[Any, Any, Any], headers: Mapping[str, str]) -> Response[Any] | None:
    """304 with ``headers``, if the client already has the representation with their ``ETag``."""
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(None, status_code=304, headers=dict(headers))
    return None
