"""Checks query strings before a handler reads them, so that a misspelt parameter is refused and never ignored."""

from urllib.parse import parse_qsl

from shared.http.problems import FieldError, Problem


class InvalidParameterError(Problem):
    """A parameter is malformed, out of range, unknown or given twice."""

    status = 400
    code = "invalid-parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}", errors=[FieldError(parameter, detail)])


def check_query(query: bytes, names: frozenset[str], repeatable: frozenset[str]) -> None:
    """``names``: the parameters that there are. Raises InvalidParameterError."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeError as error:
        raise InvalidParameterError("query string", "must be percent-encoded UTF-8") from error
    seen = set()
    for name, value in pairs:
        if name not in names:
            expected = ", ".join(sorted(names)) or "none"
            raise InvalidParameterError(name[:100], f"is not a parameter of this route, which has: {expected}")
        if name in seen and name not in repeatable:
            raise InvalidParameterError(name, "is given more than once")
        if "\x00" in value:
            raise InvalidParameterError(name, "must not contain NUL (U+0000)")
        if not value:
            raise InvalidParameterError(name, "is empty; leave it out instead")
        seen.add(name)
