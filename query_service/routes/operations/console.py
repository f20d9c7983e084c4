"""The console's page and its files, of ``query_service.http.console_files``. Public, and not part of the API's document."""

import re
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter

from query_service.http.console_files import ConsoleFiles
from query_service.http.parameters import UNCHECKED
from query_service.http.requests import QueryRequest
from shared.http.etags import matches
from shared.http.identities.guard import PUBLIC

_GZIP: Final = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:,|$|;\s*q=(?!0(?:\.0*)?\s*(?:,|$)))", re.IGNORECASE)


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


ROUTES: Final = (console,)
