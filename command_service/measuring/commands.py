"""Counts what became of commands: once for a batch, by type, outcome and code. What a sender made up is counted as ``other``."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, assert_never

import msgspec

from command_service.handling.decision import Failed, Outcome, Scheduled
from command_service.handling.parsing import Command, Undecodable
from command_service.handling.replies import Result
from shared.contracts.registry import COMMANDS as TYPES
from shared.contracts.registry import REFUSALS
from shared.observability import metrics
from shared.observability.families import OTHER


class _Refusal(msgspec.Struct):
    code: str


class _Rejected(msgspec.Struct):
    data: _Refusal


_DECODER: Final = msgspec.json.Decoder(_Rejected)


def count(results: Iterable[tuple[Command | Undecodable, Result]], seconds: float) -> None:
    """``results``: what was sent, and what became of it, of one batch that took ``seconds``."""
    found = Counter((_type_of(part), *outcome_of(result)) for part, result in results)
    for labels, number in found.items():
        metrics.COMMANDS.add(number, *labels)
    if found:
        metrics.COMMAND_SECONDS.observe(seconds, count=found.total())


def _type_of(part: Command | Undecodable) -> str:
    name = part.envelope.type if isinstance(part, Command) else part.command_type
    return name if name in TYPES else OTHER


def outcome_of(result: Result) -> tuple[str, str]:
    """(outcome, code) as ``COMMANDS`` counts them."""
    match result:
        case Outcome():
            return ("accepted", "") if result.accepted else ("rejected", _known(_DECODER.decode(result.body).data.code))
        case Undecodable():
            return "rejected", _known(result.code)
        case Scheduled():
            return "scheduled", ""
        case Failed():
            return "failed", result.reason
        case _:
            assert_never(result)


def _known(code: str) -> str:
    return code if code in REFUSALS else OTHER
