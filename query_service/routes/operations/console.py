"""The console's page and its files, of ``query_service.http.console_files``; and signing in to it (``query_service.sign_in``).

Public, and not part of the API's document.
"""

import re
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter

from query_service.http.console_files import ConsoleFiles
from query_service.http.parameters import UNCHECKED
from query_service.http.requests import QueryRequest
from query_service.sign_in import Code, SignIn
from shared.http.etags import matches
from shared.http.identities.guard import PUBLIC
from shared.http.json_bodies import json_object
from shared.http.problems import Problem

_GZIP: Final = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:,|$|;\s*q=(?!0(?:\.0*)?\s*(?:,|$)))", re.IGNORECASE)
_UNKEPT: Final = {"Cache-Control": "no-store"}


@get(
    ["/console", "/console/{path:path}"],
    needs=PUBLIC,
    opt={UNCHECKED: True},  # the page's own addresses: what follows /console is for its script
    include_in_schema=False,
)
async def console(request: QueryRequest, path: Annotated[str, PathParameter()] = "") -> Response[Any]:
    """A file of the console. Raises NotFoundException: there is no such file, or no console."""
    files: ConsoleFiles | None = request.app.state.console
    file = files.at(path) if files is not None else None
    if files is None or file is None:
        raise NotFoundException
    headers = {
        "ETag": file.tag,
        "Cache-Control": file.cache_control,
        "Content-Security-Policy": files.security_policy,
        "Vary": "Accept-Encoding",
    }
    if matches(request.headers.get("if-none-match"), file.tag):
        return Response(None, status_code=304, headers=headers)
    body = file.body
    if file.compressed is not None and _GZIP.search(request.headers.get("accept-encoding", "")):
        body = file.compressed
        headers["Content-Encoding"] = "gzip"
        headers["ETag"] = f"W/{file.tag}"
    return Response(body, media_type=file.media_type, headers=headers)


@get("/console/sign-in", needs=PUBLIC, include_in_schema=False)
async def provider(request: QueryRequest) -> Response[Any]:
    """Where to sign in, and as which client. Raises NotFoundException: with an API key only; ProviderUnavailableError."""
    return Response(dict(await _sign_in(request).offer()), headers=_UNKEPT)


@post("/console/sign-in", needs=PUBLIC, include_in_schema=False, status_code=200)
async def redeem(request: QueryRequest) -> Response[Any]:
    """An access token for the provider's code. Raises as ``provider`` does; SignInRefusedError; Problem for a malformed body."""
    sign_in = _sign_in(request)
    try:
        code = msgspec.convert(await json_object(request), Code)
    except msgspec.ValidationError as error:
        raise Problem(str(error), status=422, code="invalid-sign-in") from error
    return Response({"access_token": await sign_in.exchange(code)}, headers=_UNKEPT)


def _sign_in(request: QueryRequest) -> SignIn:
    found: SignIn | None = request.app.state.sign_in
    if found is None:
        raise NotFoundException
    return found


ROUTES: Final = (console, provider, redeem)
