"""ETags: a response and its tag change together, so that ``If-None-Match`` never hides a change (RFC 9110 §13.1.2).

A tag is ``"<versions>-<digest>"``: the versions of the streams that the response is made from (its own first, then those that it takes
names from), and a digest of the body. The digest also distinguishes two builds of a projection, which may differ for the same versions.
Lists have only the digest.
"""

from collections.abc import Mapping
from typing import Any

from litestar import MediaType, Request, Response

from shared.http.etags import etag, matches


def conditional_response(
    request: Request[Any, Any, Any], body: bytes, as_of: Mapping[str, str], *versions: int
) -> Response[Any]:
    """200 with ``body`` (JSON text, sent unchanged), or 304 without it; both with ``ETag`` and the headers ``as_of``."""
    tag = etag(body, *versions)
    headers = {"ETag": tag, "Cache-Control": "no-cache", **as_of}
    if matches(request.headers.get("if-none-match"), tag):
        return Response(None, status_code=304, headers=headers)
    return Response(body, media_type=MediaType.JSON, headers=headers)
