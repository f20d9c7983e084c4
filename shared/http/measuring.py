"""Measures requests: seconds until the response begins, by the route's template and the class of the status.

A response that never ends, such as an event stream, counts when it begins. A path without a route is ``other``.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from shared.observability.families import OTHER
from shared.observability.metrics import REQUEST_SECONDS

Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Any, Send], Awaitable[None]]


async def measured(application: Application, scope: Any, receive: Any, send: Send) -> None:
    """Answer with the application. Only HTTP is measured."""
    if scope["type"] != "http":
        await application(scope, receive, send)
        return
    began, status = time.monotonic(), 0

    async def send_measured(message: Any) -> None:
        nonlocal status
        if not status and message["type"] == "http.response.start":
            status = message["status"]
            route = scope.get("path_template") or OTHER
            REQUEST_SECONDS.observe(time.monotonic() - began, route, f"{status // 100}xx")
        await send(message)

    await application(scope, receive, send_measured)
