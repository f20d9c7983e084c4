"""What is wrong with a parameter is said as what is wrong with a field is: what it may be, and what came."""

from enum import StrEnum
from typing import Annotated, Any, Literal, cast

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import PathParameter, QueryParameter

from shared.http.problems import EXCEPTION_HANDLERS


class Shade(StrEnum):
    LIGHT = "light"
    DARK = "dark-blue"


@get("/things/{number:int}")
async def things(
    number: Annotated[int, PathParameter(ge=1)],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 1,
    share: Annotated[float, QueryParameter(gt=0, lt=1)] = 0.5,
    shade: Annotated[Shade, QueryParameter()] = Shade.LIGHT,
    sort: Annotated[Literal["up", "down"], QueryParameter()] = "up",
    name: Annotated[str | None, QueryParameter(min_length=2, max_length=3)] = None,
    currency: Annotated[str | None, QueryParameter(pattern="^[A-Z]{3}$")] = None,
    from_: Annotated[Shade | None, QueryParameter(name="from")] = None,
    step: Annotated[int, QueryParameter(multiple_of=5)] = 5,
    late: Annotated[bool, QueryParameter()] = False,
) -> str:
    return ""


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        ("/things/0", "number", 'at least 1 is needed; "0" came'),
        ("/things/1?limit=0", "limit", 'at least 1 is needed; "0" came'),
        ("/things/1?limit=101", "limit", 'at most 100 is possible; "101" came'),
        ("/things/1?limit=many", "limit", 'a whole number is needed; "many" came'),
        ("/things/1?step=7", "step", 'a multiple of 5 is needed; "7" came'),
        ("/things/1?share=0", "share", 'more than 0.0 is needed; "0" came'),
        ("/things/1?share=1", "share", 'less than 1.0 is needed; "1" came'),
        ("/things/1?share=half", "share", 'a number is needed; "half" came'),
        ("/things/1?shade=red", "shade", 'light or dark-blue is needed; "red" came'),
        ("/things/1?from=red%0d%0a", "from", 'light or dark-blue is needed; "red\\r\\n" came'),
        ("/things/1?sort=left", "sort", 'up or down is needed; "left" came'),
        ("/things/1?name=a", "name", 'at least 2 characters are needed; "a" came'),
        ("/things/1?name=abcd", "name", 'at most 3 characters are possible; "abcd" came'),
        (
            "/things/1?currency=euro",
            "currency",
            'a currency is its ISO 4217 code: three capital letters, like EUR; "euro" came',
        ),
        ("/things/1?late=soon", "late", 'true or false is needed; "soon" came'),
    ],
)
async def test_a_parameter_is_refused_in_words(path: str, field: str, message: str) -> None:
    app = Litestar([things], exception_handlers=EXCEPTION_HANDLERS, logging_config=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, app)), base_url="http://tests") as client:
        answer = await client.get(path)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": field, "message": message}]
