"""An OpenAPI document as one HTML page: no scripts, no images, no resources from other hosts or requests."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from shared.http.schema_page.shapes import Schema, Shapes

STYLE: Final = (Path(__file__).parent / "page.css").read_text()
UNTAGGED: Final = "all"
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_CODE: Final = re.compile(r"`([^`]+)`")
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<nav aria-label="Contents"><strong>{title}</strong>{contents}</nav>
<main>
<h1>{title}</h1>
{introduction}
<p>The same for programs: <a href="{schema}/openapi.json">openapi.json</a>.</p>
{sections}
</main>
</body>
</html>
"""


class Page:
    """``address``: the service's base URL, for the examples. ``schema``: the path of the documentation."""

    def __init__(self, document: Mapping[str, Any], address: str, schema: str = "/schema") -> None:
        self._schema = schema
        self._document = document
        self._address = address.rstrip("/")
        self._components: Mapping[str, Schema] = document.get("components", {}).get("schemas", {})
        self._shapes = Shapes(self._components)

    def html(self) -> str:
        info = self._document["info"]
        tags = list(self._tags().items())
        sections = [
            f'<section id="tag-{escape(tag)}"><h2>{escape(tag)}</h2>{"".join(map(self._operation, operations))}</section>'
            for tag, operations in tags
        ]
        if self._components:
            shapes = "".join(self._component(name, schema) for name, schema in sorted(self._components.items()))
            sections.append(f'<section id="schemas"><h2>Schemas</h2>{shapes}</section>')
        return _PAGE.format(
            title=escape(info["title"]),
            schema=escape(self._schema),
            style=STYLE,
            introduction=_prose(info.get("description", "")),
            contents="".join(map(_contents, tags)) + ('<a href="#schemas">Schemas</a>' if self._components else ""),
            sections="\n".join(sections),
        )

    def _tags(self) -> dict[str, list[dict[str, Any]]]:
        """Tag → its operations, in document order."""
        found: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in self._document.get("tags", ())}
        for path, item in self._document["paths"].items():
            for method in _METHODS:
                if method in item:
                    operation = {**item[method], "path": path, "method": method.upper()}
                    found.setdefault(next(iter(operation.get("tags", ())), UNTAGGED), []).append(operation)
        return {tag: operations for tag, operations in found.items() if operations}

    def _operation(self, operation: Schema) -> str:
        method, path = operation["method"], operation["path"]
        parts = [_prose(operation.get("description", ""))]
        if parameters := operation.get("parameters"):
            rows = "".join(map(self._parameter, parameters))
            head = "<tr><th>Parameter</th><th>In</th><th>Is</th><th>Means</th></tr>"
            parts.append(f"<h4>Parameters</h4><table>{head}{rows}</table>")
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            parts.append(f"<h4>Body <small>{escape(media_type)}</small></h4>{self._shape(content.get('schema', {}))}")
        parts.append(f"<h4>Example</h4><pre>{escape(self._curl(operation))}</pre><h4>Answers</h4>")
        parts += [self._response(status, response) for status, response in sorted(operation["responses"].items())]
        return (
            f'<details><summary><span class="method {method.lower()}">{method}</span> '
            f"<code>{escape(path)}</code> {escape(operation.get('summary', ''))}</summary>"
            # Browsers open the <details> that contains a link's target, not one that is the target itself.
            f'<div id="{_anchor(operation)}">{"".join(parts)}</div></details>'
        )

    def _parameter(self, parameter: Schema) -> str:
        schema = parameter.get("schema", {})
        required = " <em>required</em>" if parameter.get("required") else ""
        means = _prose(parameter.get("description", ""))
        if "default" in schema:
            means += f"<p>Default: <code>{escape(json.dumps(schema['default']))}</code></p>"
        return (
            f"<tr><td><code>{escape(parameter['name'])}</code>{required}</td><td>{escape(parameter['in'])}</td>"
            f"<td>{self._shapes.name(schema)}</td><td>{means}</td></tr>"
        )

    def _response(self, status: str, response: Schema) -> str:
        phrase = HTTPStatus(int(status)).phrase if status.isdigit() else ""
        parts = [f"<h5><code>{escape(status)}</code> {escape(phrase)}</h5>{_prose(response.get('description', ''))}"]
        for name, header in response.get("headers", {}).items():
            parts.append(f"<p>Header <code>{escape(name)}</code>: {_inline(header.get('description', ''))}</p>")
        for media_type, content in response.get("content", {}).items():
            schema = content.get("schema", {})
            parts.append(f"<p>{escape(media_type)}: {self._shapes.name(schema)}</p>")
            for example in content.get("examples", {}).values():
                value = example.get("value")
                text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
                parts.append(f"<pre>{escape(text)}</pre>")
        return "".join(parts)

    def _component(self, name: str, schema: Schema) -> str:
        return f'<h3 id="schema-{escape(name)}">{escape(name)}</h3>{_prose(schema.get("description", ""))}{self._shape(schema)}'

    def _shape(self, schema: Schema) -> str:
        choices = schema.get("oneOf", ())
        if choices and all("properties" in choice for choice in choices):
            return "".join(f"<h5>{escape(choice.get('title', 'or'))}</h5>{self._shape(choice)}" for choice in choices)
        rows = "".join(
            f"<tr><td><code>{escape(name)}</code>{'' if required else ' <small>optional</small>'}</td>"
            f"<td>{self._shapes.name(field)}</td><td>{_prose(field.get('description', ''))}</td></tr>"
            for name, field, required in self._shapes.fields(schema)
        )
        return f"<table>{rows}</table>" if rows else f"<p>{self._shapes.name(schema)}</p>"

    def _curl(self, operation: Schema) -> str:
        path, query, headers = operation["path"], [], []
        for parameter in operation.get("parameters", ()):
            value = str(self._value(parameter))
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(value, safe=":@~"))
            elif parameter.get("required") and parameter["in"] == "query":
                query.append(f"{parameter['name']}={quote(value)}")
            elif parameter.get("required"):
                headers.append(f"{parameter['name']}: {value}")
        url = f"{self._address}{path}{'?' if query else ''}{'&'.join(query)}"
        method = "" if operation["method"] == "GET" else f"-X {operation['method']} "
        words = [f"curl -s {method}{shlex.quote(url)}"]
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            headers.append(f"Content-Type: {media_type}")
            body = json.dumps(self._shapes.example(content.get("schema", {})), ensure_ascii=False)
            words.append(f"-d {shlex.quote(body)}")
        words[1:1] = [f"-H {shlex.quote(header)}" for header in headers]
        if operation.get("security"):
            words.insert(1, '-H "Authorization: Bearer $TIDEMARK_API_KEY"')
        return " \\\n  ".join(words)

    def _value(self, parameter: Schema) -> Any:
        for example in parameter.get("examples", {}).values():
            value = example.get("value")
            return value[0] if isinstance(value, list) and value else value
        return parameter.get("example") or self._shapes.example(parameter.get("schema", {}))


def _anchor(operation: Schema) -> str:
    return escape(operation.get("operationId") or f"{operation['method']}-{operation['path']}")


def _contents(tag: tuple[str, list[dict[str, Any]]]) -> str:
    name, operations = tag
    links = "".join(
        f'<li><a href="#{_anchor(one)}">{escape(one.get("summary") or one["path"])}</a></li>' for one in operations
    )
    return f'<a href="#tag-{escape(name)}">{escape(name)}</a><ul>{links}</ul>'


def _prose(text: str) -> str:
    """Text as HTML: paragraphs, and code between backticks."""
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in _paragraphs(text))


def _paragraphs(text: str) -> Iterator[str]:
    return (paragraph for paragraph in text.strip().split("\n\n") if paragraph.strip())


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text.replace("``", "`")))
