"""Which changes between two AsyncAPI documents of ours break a sender of commands, or a reader of events and outcomes.

A change breaks senders when a command that was accepted before need not be so now; it breaks readers when a message that we write now is
not what they were promised. So both are one question: is everything that one schema allows also allowed by the other?

    commands            what the old document lets a sender write    ⊆   what the new one takes
    events, outcomes    what the new document lets us write          ⊆   what the old one promised; fields that are new are ignored

Source of the keywords: JSON Schema, draft 2020-12, those that our contracts use.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Schema = Mapping[str, Any]
Party = Literal["sender", "reader"]

_LOWER_BOUNDS: Final = {"minimum": -math.inf, "exclusiveMinimum": -math.inf, "minLength": 0, "minItems": 0}
"""By what they are where nothing is said."""
_UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_SAME: Final = ("pattern", "format")


@dataclass(frozen=True, slots=True)
class Break:
    """What breaks whom: ``where`` is a message's name and the path in it."""

    party: Party
    where: str
    what: str

    def __str__(self) -> str:
        return f"breaks {self.party}s: {self.where}: {self.what}"


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Break]:
    """Every change from ``old`` to ``new`` that breaks somebody. Raises KeyError where one is no such document."""
    found: list[Break] = []
    channels: tuple[tuple[str, Party], ...] = (("commands", "sender"), ("replies", "reader"), ("events", "reader"))
    for channel, party in channels:
        now = new["channels"][channel]["messages"]
        for name in old["channels"][channel]["messages"]:
            if name not in now:
                found.append(Break(party, name, "is no longer there"))
                continue
            given, expected = (old, new) if party == "sender" else (new, old)
            compared = _Comparison(given, expected, readers=party == "reader")
            ours, theirs = (one["components"]["messages"][name]["payload"] for one in (given, expected))
            found += (Break(party, name + path, what) for path, what in compared.differences(ours, theirs, ""))
    return found


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What the document ``given`` lets be written, held against what ``expected`` takes."""

    given: Mapping[str, Any]
    expected: Mapping[str, Any]
    readers: bool

    def differences(self, given: Schema, expected: Schema, path: str) -> Iterator[tuple[str, str]]:
        given, expected = _resolved(given, self.given), _resolved(expected, self.expected)
        alternatives = expected.get("anyOf", [expected])
        for each in given.get("anyOf", [given]):
            candidates = [list(self._one(each, one, path)) for one in alternatives]
            if all(candidates):
                yield from min(candidates, key=len)

    def _one(self, given: Schema, expected: Schema, path: str) -> Iterator[tuple[str, str]]:
        given, expected = _resolved(given, self.given), _resolved(expected, self.expected)
        values, taken = _values(given), _values(expected)
        if taken is not None:
            if values is None:
                yield path, f"must be one of {taken}"
            elif refused := [value for value in values if value not in taken]:
                yield path, f"{refused} is not among {taken}"
            return
        kinds, kind = given.get("type"), expected.get("type")
        if kind is not None and kinds != kind and values is None and (kinds, kind) != ("integer", "number"):
            yield path, f"is {kinds or 'anything'}, not {kind}"
            return
        yield from _bounds(given, expected, path)
        if kind == "object":
            yield from self._fields(given, expected, path)
        if "items" in expected and "items" in given:
            yield from self.differences(given["items"], expected["items"], f"{path}[]")

    def _fields(self, given: Schema, expected: Schema, path: str) -> Iterator[tuple[str, str]]:
        written, taken = given.get("properties", {}), expected.get("properties", {})
        always = set(given.get("required", ()))
        for name in expected.get("required", ()):
            if name not in always:
                yield f"{path}.{name}", "is no longer always there" if self.readers else "is required now"
        for name, schema in written.items():
            if name in taken:
                yield from self.differences(schema, taken[name], f"{path}.{name}")
            elif not self.readers and expected.get("additionalProperties") is False:
                yield f"{path}.{name}", "is not taken any more"


def _bounds(given: Schema, expected: Schema, path: str) -> Iterator[tuple[str, str]]:
    for name, least in _LOWER_BOUNDS.items():
        if name in expected and given.get(name, least) < expected[name]:
            yield path, f"{name} is {expected[name]}, not {given.get(name, 'unbounded')}"
    for name in _UPPER_BOUNDS:
        if name in expected and given.get(name, math.inf) > expected[name]:
            yield path, f"{name} is {expected[name]}, not {given.get(name, 'unbounded')}"
    for name in _SAME:
        if name in expected and given.get(name) != expected[name]:
            yield path, f"{name} is {expected[name]!r}, not {given.get(name)!r}"


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return schema.get("enum")


def _resolved(schema: Schema, document: Mapping[str, Any]) -> Schema:
    """Without references, and with the parts of an ``allOf`` as one: later ones say more of a field than earlier ones."""
    if "$ref" in schema:
        return _resolved(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "allOf" not in schema:
        return schema
    merged: dict[str, Any] = {}
    for part in (_resolved(one, document) for one in schema["allOf"]):
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged = {**merged, **part, "properties": properties, "required": required}
    return merged
