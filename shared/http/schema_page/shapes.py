"""The schemas of an OpenAPI document in words: the type of a value, its fields, and an example."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

Schema = Mapping[str, Any]

MAX_DEPTH: Final = 6
_BOUNDS: Final = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "length ≥ {}",
    "maxLength": "length ≤ {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
}
_SAMPLES: Final[Mapping[str, Any]] = {"integer": 1, "number": 1, "boolean": True, "null": None}
_FORMATS: Final = {
    "date-time": "2026-03-01T09:30:00Z",
    "date": "2026-03-01",
    "uuid": "0195a0c4-7000-7000-8000-000000000000",
}


class Shapes:
    """The schemas of one document, with references resolved."""

    def __init__(self, components: Mapping[str, Schema]) -> None:
        self._components = components

    def name(self, schema: Schema) -> str:
        """The type of a value, as HTML."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
        if choices := schema.get("oneOf") or schema.get("anyOf"):
            return " or ".join(dict.fromkeys(self.name(choice) for choice in choices))
        if "const" in schema:
            return f"<code>{escape(json.dumps(schema['const']))}</code>"
        if values := schema.get("enum"):
            return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
        kind = schema.get("type", "any value")
        if kind == "array":
            return f"list of {self.name(schema.get('items', {}))}{_bounds(schema)}"
        words = " or ".join(kind) if isinstance(kind, list) else str(schema.get("format", kind))
        return escape(words + _bounds(schema))

    def fields(self, schema: Schema, before: str = "") -> Iterator[tuple[str, Schema, bool]]:
        """Name, schema, and whether it is required, of each field of an object; fields of nested objects as ``outer.inner``."""
        for name, field in schema.get("properties", {}).items():
            path = f"{before}{name}"
            yield path, field, name in schema.get("required", ())
            for inner, many in _inner(field):
                yield from self.fields(inner, f"{path}{'[]' if many else ''}.")

    def example(self, schema: Schema, depth: int = 0) -> Any:
        """An example value: the schema's own, else one generated from it."""
        if "$ref" in schema:
            schema = self._components.get(schema["$ref"].rpartition("/")[2], {})
        if examples := schema.get("examples"):
            return examples[0]
        for given in ("example", "const", "default"):
            if schema.get(given) is not None:
                return schema[given]
        if values := schema.get("enum"):
            return values[0]
        if choices := schema.get("oneOf") or schema.get("anyOf"):
            return self.example(choices[0], depth)
        kind = schema.get("type")
        if kind == "array":
            return [self.example(schema.get("items", {}), depth + 1)] if depth < MAX_DEPTH else []
        if kind == "object" or "properties" in schema:
            names = schema.get("required") or schema.get("properties", {})
            inner = {name: schema["properties"][name] for name in names if name in schema.get("properties", {})}
            return {name: self.example(one, depth + 1) for name, one in inner.items()} if depth < MAX_DEPTH else {}
        if kind == "string":
            return _FORMATS.get(schema.get("format", ""), "text")
        return schema.get("minimum", _SAMPLES.get(str(kind)))


def _bounds(schema: Schema) -> str:
    bounds = [words.format(_number(schema[name])) for name, words in _BOUNDS.items() if name in schema]
    return f" ({', '.join(bounds)})" if bounds else ""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e15 else str(value)


def _inner(field: Schema) -> Iterator[tuple[Schema, bool]]:
    """The objects nested in a field, each with whether the field is a list of them."""
    for choice in field.get("oneOf") or field.get("anyOf") or (field,):
        items = choice.get("items", {})
        if choice.get("properties"):
            yield choice, False
        elif isinstance(items, Mapping) and items.get("properties"):
            yield items, True
