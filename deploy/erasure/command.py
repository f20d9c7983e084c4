"""``tidemark verify --erasure``: what is left of a person who is erased, and the certificate if nothing is."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from deploy.cli.subjects.commands import checked
from deploy.cli.terminal import run
from deploy.erasure.certificate import public_key, signed
from deploy.erasure.findings import as_document, look
from deploy.erasure.stores import key_database
from shared.runtime.settings import Settings


def run_verify_erasure(settings: Settings, subject: str, values: Sequence[str]) -> bool:
    """Prints the signed findings as JSON on stdout, what is left on stderr; returns whether nothing is. Raises typer.Exit."""
    document = run(_certificate(settings, checked(subject), values))
    print(json.dumps(document, indent=2, ensure_ascii=False))
    left = document["certificate"]["left"]
    for line in left:
        print(f"left: {line}", file=sys.stderr)
    return not left


def print_public_key(settings: Settings) -> None:
    print(run(_public_key(settings)))


async def _certificate(settings: Settings, subject: str, values: Sequence[str]) -> dict[str, Any]:
    findings = await look(settings, subject, values)
    async with key_database(settings) as keys:
        return await signed(as_document(findings), keys)


async def _public_key(settings: Settings) -> str:
    async with key_database(settings) as keys:
        return await public_key(keys)
