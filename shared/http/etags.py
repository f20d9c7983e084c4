"""Entity tags of JSON bodies, and ``If-None-Match`` (RFC 9110 §13.1.2)."""

from hashlib import blake2b


def etag(body: bytes, *versions: int) -> str:
    """``"<versions>-<digest>"``: the versions of the streams that the body is made from, if any, and a digest of it."""
    digest = blake2b(body, digest_size=8).hexdigest()
    return f'"{".".join(map(str, versions))}-{digest}"' if versions else f'"{digest}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether the client already has this representation, by weak comparison; ``*`` matches any."""
    if if_none_match is None:
        return False
    candidates = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in candidates or "*" in candidates
