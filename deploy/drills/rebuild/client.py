"""A lightweight client of one HTTP service; it shares the machine with the system that is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from shared.runtime.reasons import reason

TIMEOUT: Final = aiohttp.ClientTimeout(total=60)

Parameters = Mapping[str, str] | Sequence[tuple[str, str]]


class ServiceError(Exception):
    """The service did not respond, or not with status 200; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status == 200

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def json_or_raise(self) -> Any:
        """The JSON body. Raises ServiceError if the status is not 200."""
        if not self.ok:
            raise ServiceError(str(self))
        return self.json()

    def __str__(self) -> str:
        """Status and the beginning of the body, for error messages."""
        return f"{self.status} {self.body[:200].decode(errors='replace')}"


class Client:
    """A client of the service at ``base_url``. Every request may raise ServiceError."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session = aiohttp.ClientSession(base_url, timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, parameters: Parameters = (), headers: Mapping[str, str] | None = None) -> Response:
        return await self._request("GET", path, params=parameters, headers=headers)

    async def post(self, path: str, data: Any, headers: Mapping[str, str]) -> Response:
        """Send ``data`` as JSON."""
        return await self._request("POST", path, json=data, headers=headers)

    async def _request(self, method: str, path: str, **request: Any) -> Response:
        try:
            async with self._session.request(method, path, **request) as response:
                return Response(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceError(reason(error)) from error
