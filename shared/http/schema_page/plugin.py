"""Litestar plugin that serves the page."""

from base64 import b64encode
from hashlib import sha256
from typing import Any, Final

from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

from shared.http.schema_page.page import STYLE, Page

_STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing is loaded and no script runs; the only style sheet allowed is the one in the page."""
MAX_ADDRESSES: Final = 8
ADDRESS: Final = "tidemark.schema"
"""Key in the scope: the path at which the documentation was asked for."""


class PageRenderPlugin(OpenAPIRenderPlugin):
    """Renders the page once for each base URL of requests, and path of the documentation."""

    def __init__(self, *, path: str) -> None:
        super().__init__(path=path)
        self._pages: dict[tuple[str, str], bytes] = {}

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        key = str(request.base_url), str(request.scope.get(ADDRESS, "/schema"))
        if key not in self._pages:
            if len(self._pages) >= MAX_ADDRESSES:
                self._pages.clear()
            self._pages[key] = Page(openapi_schema, *key).html().encode()
        return self._pages[key]
