"""A client of one HTTP service that costs little: what is measured shares the machine with it."""

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
    """The service did not answer, or not with what was asked for; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status == 200

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def needed(self) -> Any:
        """The same, where nothing but a 200 will do. Raises ServiceError."""
        if not self.ok:
            raise ServiceError(str(self))
        return self.json()

    def __str__(self) -> str:
        """For whoever has to find out why it is not the right one."""
        return f"{self.status} {self.body[:200].decode(errors='replace')}"


class Client:
    """Of the service at ``base_url``. Each request raises ServiceError."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session = aiohttp.ClientSession(base_url, timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, parameters: Parameters = (), headers: Mapping[str, str] | None = None) -> Answer:
        return await self._ask("GET", path, params=parameters, headers=headers)

    async def post(self, path: str, data: Any, headers: Mapping[str, str]) -> Answer:
        """``data`` as JSON."""
        return await self._ask("POST", path, json=data, headers=headers)

    async def _ask(self, method: str, path: str, **request: Any) -> Answer:
        try:
            async with self._session.request(method, path, **request) as response:
                return Answer(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceError(reason(error)) from error
