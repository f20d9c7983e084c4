"""The ``tidemark`` program as tests call it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner, Result

from deploy.cli.main import app


@dataclass(frozen=True)
class Program:
    group: str
    """The commands behind this word."""

    async def run(
        self, *arguments: str, given: str | bytes | None = None, environ: Mapping[str, str | None] | None = None
    ) -> Result:
        """In a thread: it has an event loop of its own."""
        command = [self.group, *arguments]
        return await asyncio.to_thread(CliRunner().invoke, app, command, input=given, env=environ or {})

    async def said(self, *arguments: str, code: int = 0, **more: Any) -> str:
        result = await self.run(*arguments, **more)
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result.stdout

    async def json_of(self, *arguments: str, code: int = 0, **more: Any) -> Any:
        return json.loads(await self.said(*arguments, "--output", "json", code=code, **more))

    async def refused(self, *arguments: str, code: int, says: str, **more: Any) -> None:
        """In one line on stderr."""
        result = await self.run(*arguments, **more)
        assert (result.exit_code, says in result.stderr) == (code, True), (arguments, result.output, result.exception)
        assert "Traceback" not in result.output
