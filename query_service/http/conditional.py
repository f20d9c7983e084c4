"""ETags: a response and its tag change together, so that ``If-None-Match`` never hides a change (RFC 9110 §13.1.2).

A tag is ``"<versions>-<digest>"``: the versions of the streams that the response is made from (its own first, then those that it takes
names from), and a digest of the body. The digest also distinguishes two builds of a projection, which may differ for the same versions.
Lists have only the digest.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from litestar import MediaType, Request, Response


def etag(body: bytes, *versions: int) -> str:
    digest = blake2b(body, digest_size=8).hexdigest()
    return f'"{".".join(map(str, versions))}-{digest}"' if versions else f'"{digest}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether the client already has this representation, by weak comparison; ``*`` matches any."""
    if if_none_match is None:
        return False
    candidates = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in candidates or "*" in candidates


def conditional_response(
    request: Request[Any, Any, Any],
    body: bytes,
    as_of: Mapping[str, str],
    *versions: int,
    media_type: str = MediaType.JSON,
) -> Response[Any]:
    """200 with ``body`` (text, sent unchanged), or 304 without it; both with ``ETag`` and the headers ``as_of``."""
    tag = etag(body, *versions)
    headers = {"ETag": tag, "Cache-Control": "no-cache", **as_of}
    if matches(request.headers.get("if-none-match"), tag):
        return Response(None, status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
