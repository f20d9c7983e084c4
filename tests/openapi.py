"""Whether answers are what the OpenAPI document says: types, required fields, and no field that is not in the document."""

import json
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from litestar import Litestar


def checked(app: Litestar) -> dict[str, list[Callable[[httpx.Response], Awaitable[None]]]]:
    """Event hooks for a client of the app: an answer (200, JSON) that the document does not allow raises AssertionError."""
    document = app.openapi_schema.to_schema()
    components = _closed(document["components"])
    routes = {re.compile(re.sub(r"{\w+}", "[^/]+", path)): item for path, item in document["paths"].items()}

    async def conforms(answer: httpx.Response) -> None:
        method = answer.request.method.lower()
        if answer.status_code != 200 or answer.headers.get("content-type") != "application/json" or method == "head":
            return
        await answer.aread()
        [operation, *_] = [item[method] for path, item in routes.items() if path.fullmatch(answer.url.path)]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({**_closed(schema), "components": components})
        problems = [
            f"{error.json_path}: {error.message}"
            for error in validator.iter_errors(json.loads(answer.text, parse_float=Decimal))
        ]
        assert not problems, (str(answer.url), problems)

    return {"response": [conforms]}


def _closed(node: Any) -> Any:
    """The schema, its objects with their own properties only."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {name: _closed(value) for name, value in node.items()}
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found
