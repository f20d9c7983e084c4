"""Finds the changes between two of Tidemark's AsyncAPI documents that break senders of commands, or readers of events and outcomes.

A change breaks senders when a command that the old document allows may be refused now; it breaks readers when a message that is written now
does not conform to the old document. Both are one question: does one schema allow everything that the other allows?

    commands            allowed by the old document   ⊆   allowed by the new document
    events, outcomes    allowed by the new document   ⊆   allowed by the old document; new fields are ignored

Supported keywords: those of JSON Schema, draft 2020-12, that Tidemark's contracts use.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Schema = Mapping[str, Any]
Party = Literal["sender", "reader"]

_LOWER_BOUNDS: Final = {"minimum": -math.inf, "exclusiveMinimum": -math.inf, "minLength": 0, "minItems": 0}
"""Keyword → the bound when the keyword is absent."""
_UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_SAME: Final = ("pattern", "format")


@dataclass(frozen=True, slots=True)
class BreakingChange:
    """A change that breaks ``party``; ``where`` is a message's name and the path in it."""

    party: Party
    where: str
    what: str

    def __str__(self) -> str:
        return f"breaks {self.party}s: {self.where}: {self.what}"


def breaking_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[BreakingChange]:
    """Every change from ``old`` to ``new`` that breaks senders or readers. Raises KeyError if one is not such a document."""
    found: list[BreakingChange] = []
    channels: tuple[tuple[str, Party], ...] = (("commands", "sender"), ("replies", "reader"), ("events", "reader"))
    for channel, party in channels:
        now = new["channels"][channel]["messages"]
        for name in old["channels"][channel]["messages"]:
            if name not in now:
                found.append(BreakingChange(party, name, "is no longer there"))
                continue
            given, expected = (old, new) if party == "sender" else (new, old)
            compared = _Comparison(given, expected, readers=party == "reader")
            written, allowed = (one["components"]["messages"][name]["payload"] for one in (given, expected))
            found += (
                BreakingChange(party, name + path, what) for path, what in compared.differences(written, allowed, "")
            )
    return found


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Compares what the document ``given`` allows to be written with what ``expected`` accepts."""

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
    step, of = given.get("multipleOf", 0), expected.get("multipleOf")
    if of is not None and (not step or step % of):
        yield path, f"multipleOf is {of}, not {step or 'unbounded'}"
    for name in _SAME:
        if name in expected and given.get(name) != expected[name]:
            yield path, f"{name} is {expected[name]!r}, not {given.get(name)!r}"


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return schema.get("enum")


def _resolved(schema: Schema, document: Mapping[str, Any]) -> Schema:
    """The schema without references, and with the parts of an ``allOf`` merged; later parts override earlier ones."""
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
