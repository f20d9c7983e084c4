"""OPTIONS names all methods of a path, whichever routes they belong to."""

from typing import Annotated, Any

import httpx
import pytest
from litestar import delete, get, patch, post
from litestar.params import FromPath, QueryParameter

from command_service.http.parameters import refuse_unknown_parameters
from shared.http.identities.guard import PUBLIC
from shared.http.service import Service, documentation


@post("/things/{kind:str}", needs=PUBLIC)
async def make(kind: FromPath[str]) -> None:
    return None


@get("/things/{id_:str}", needs=PUBLIC)
async def read(id_: FromPath[str], source: Annotated[str | None, QueryParameter()] = None) -> None:
    return None


@patch("/others/{id_:str}", needs=PUBLIC)
async def change(id_: FromPath[str]) -> None:
    return None


@delete("/others/{id_:str}", needs=PUBLIC)
async def remove(id_: FromPath[str]) -> None:
    return None


class WithHead(Service):
    head = True


@pytest.mark.parametrize(("service", "read_methods"), [(Service, "GET"), (WithHead, "GET, HEAD")])
async def test_options_names_all_methods_of_a_path_with_a_query_string_too(
    service: type[Service], read_methods: str
) -> None:
    app: Any = service(
        route_handlers=[make, read, change, remove],
        guards=[refuse_unknown_parameters],
        openapi_config=documentation(title="Things", version="1"),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://things") as client:
        for query in ("", "?source=x", "?source=", "?unknown=1"):
            answers = [await client.options(f"{path}{query}") for path in ("/things/x", "/others/x")]
            assert [answer.status_code for answer in answers] == [204, 204]
            assert [answer.headers["allow"] for answer in answers] == [
                f"{read_methods}, POST, OPTIONS",
                "DELETE, PATCH, OPTIONS",
            ]
        assert not [path for path, item in app.openapi_schema.to_schema()["paths"].items() if "options" in item]
        refused = {"414", "421", "429", "431", "503"}
        for item in app.openapi_schema.to_schema()["paths"].values():
            assert all(refused <= operation["responses"].keys() for operation in item.values())
