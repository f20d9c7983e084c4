"""An operator's request about one process, and its answer. Each is sent in an envelope: ``Request``, ``ProcessAnswer``.

    operator ──process-act──▶ [control.processes] ──▶ the process managers: an input of the process ──▶ answer, audit

Repeating a request with the same ``id`` is harmless: it is executed once.
"""

from typing import Final, Literal

from pydantic import BaseModel

from shared.contracts.values import Actor, Id, Timestamp
from shared.messages.control import ControlData, Reason

PROCESS_ACT: Final = "control.process-act"

ActName = Literal["retry", "cancel", "compensate", "migrate"]


class ActOnProcess(ControlData):
    """``migrate``: let the process go on by the current rules, its state evolved again from its history. Otherwise see ``Act``."""

    manager: str
    """The process manager's name."""
    process_id: Id
    act: ActName
    actor: Actor
    reason: Reason = ""


class ProcessActed(BaseModel):
    """The process after the act. A failed process has not decided on the act yet: it waits behind the input that failed."""

    request_id: str
    manager: str
    process_id: str
    status: str
    result: str | None
    waiting_for: list[str]


class ProcessRefused(BaseModel):
    """``code``: unknown-process-manager, process-not-found, process-not-started, process-done, nothing-to-migrate, cannot-migrate,
    validation-failed."""

    request_id: str
    code: str
    message: str


class ProcessAnswer(BaseModel):
    """CloudEvents, structured JSON; sent to the request's ``reply_to`` with its ``correlation_id``."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["process.acted", "process.refused"]
    time: Timestamp
    data: ProcessActed | ProcessRefused
