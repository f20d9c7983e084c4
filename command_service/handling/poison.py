"""Killing the worker on purpose, for tests and drills only: ``TIDEMARK_POISON`` names streams whose commands kill it.

    TIDEMARK_POISON=worker:kill:orders/o-17    this stream; several, separated by spaces

A command that has its outcome is harmless: nothing is decided. Projections have their own setting (``projectors/runtime/poison.py``).
"""

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from command_service.handling.decision import Batch, Decide, LoadedStreams, decide
from command_service.handling.parsing import Command, Task
from shared.runtime.settings import Settings

PREFIX: Final = "worker:kill:"
EXIT_CODE: Final = 70


def with_poison(settings: Settings) -> Decide:
    """``decide``, except that the commands named in the setting kill the process."""
    if not settings.poison.startswith(PREFIX):
        return decide
    deadly = frozenset(settings.poison.removeprefix(PREFIX).split())

    def deciding(commands: Sequence[Command], known: LoadedStreams, now: datetime) -> Batch:
        for command in commands:
            if isinstance(command.task, Task) and command.task.stream in deadly and command.key not in known.decided:
                os._exit(EXIT_CODE)
        return decide(commands, known, now)

    return deciding
