"""Operators' requests about processes: each is executed once (by its id), answered, and published for the audit.

retry        a failed process decides again what it failed on, and then what has waited, in order
cancel       an input of the process, which decides what that means; refused once it is finished
compensate   the same, also after it is finished
migrate      an unfinished process goes on by the current rules: see ``migrating``
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from pydantic import ValidationError

from projectors.process_runtime import migrating, rows
from projectors.process_runtime.deciding import Process, Status
from projectors.process_runtime.store import ProcessStore
from projectors.processes.process import Act, OperatorInput
from projectors.runtime.failure_messages import acted_message
from shared.contracts.validation_errors import describe
from shared.messages.control import Acted, Request
from shared.messages.envelope import CONTENT_TYPE
from shared.messages.process_acts import ActOnProcess, ProcessActed, ProcessAnswer, ProcessRefused
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.messaging.reply_to import reply_queue
from shared.processes import source_of
from shared.runtime.postgres import Connection

log: Final = logging.getLogger(__name__)


class ActRefused(Exception):  # a result, not a failure
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def execute(stores: Mapping[str, ProcessStore], delivery: Delivery) -> list[Outgoing]:
    """Execute one request; returns the answer, if it names a reply queue, and the record for the audit. Raises StoreUnavailableError."""
    try:
        request = Request[ActOnProcess].model_validate_json(delivery.body)
    except ValidationError as error:
        problems = "; ".join(f"{item['field']}: {item['message']}" for item in describe(error))
        return _answer(delivery, ProcessRefused(request_id="", code="validation-failed", message=problems))
    act = request.data
    try:
        process = await _act(_store(stores, act.manager), request)
    except ActRefused as refused:
        log.info("%s of %s by %s: refused, %s", act.act, act.process_id, act.actor, refused)
        return _answer(delivery, ProcessRefused(request_id=request.id, code=refused.code, message=str(refused)))
    log.info("%s of %s by %s: done (%s)", act.act, act.process_id, act.actor, act.reason)
    acted = Acted(
        projection=act.manager,
        act=act.act,
        generation=1,
        subject=act.process_id,
        actor=act.actor,
        reason=act.reason,
        request_id=request.id,
        asked_at=request.time,
    )
    done = ProcessActed(
        request_id=request.id,
        manager=act.manager,
        process_id=process.id,
        status=process.status,
        result=process.result,
        waiting_for=list(process.waiting_for),
    )
    return [acted_message(acted), *_answer(delivery, done)]


def _store(stores: Mapping[str, ProcessStore], manager: str) -> ProcessStore:
    if manager not in stores:
        raise ActRefused("unknown-process-manager", f"there is no process manager {manager!r}")
    return stores[manager]


async def _act(store: ProcessStore, request: Request[ActOnProcess]) -> Process:
    act = request.data
    input_id = f"operator/{request.id}"
    async with store.transaction() as connection:
        locked = await rows.lock(connection, [(act.process_id, input_id)])
        process = locked.processes.get(act.process_id)
        if process is None:
            raise ActRefused("process-not-found", f"{act.manager} has no process {act.process_id}")
        if act.act == "migrate":
            return await _migrate(store, connection, process, locked.now)
        if (process.id, input_id) in locked.known:
            return process
        if process.status is Status.AWAITING_START:
            raise ActRefused("process-not-started", "it has not begun: it only keeps what has arrived before its start")
        if act.act == "cancel" and process.status is Status.DONE:
            raise ActRefused("process-done", f"it is finished ({process.result}); `compensate` may undo it")
        given = OperatorInput(input_id, locked.now, Act(act.act), act.actor, act.reason)
        return (await store.handle(connection, [(process.id, given)]))[process.id]


async def _migrate(store: ProcessStore, connection: Connection, process: Process, now: datetime) -> Process:
    found = await migrating.evolved_again(connection, store.manager, process)
    if found.problem is not None:
        raise ActRefused("cannot-migrate", found.problem)
    if not found.changes:
        raise ActRefused("nothing-to-migrate", "it is finished, or it already is what the current rules make of it")
    await rows.write(connection, [migrating.migrated(process, found)], now)
    return process


def _answer(delivery: Delivery, data: ProcessActed | ProcessRefused) -> list[Outgoing]:
    queue = reply_queue(delivery.reply_to)
    if queue is None:
        return []
    answer = ProcessAnswer(
        id=f"answer/{uuid4()}",
        source=source_of(data.manager) if isinstance(data, ProcessActed) else "tidemark/processes",
        type="process.acted" if isinstance(data, ProcessActed) else "process.refused",
        time=datetime.now(UTC),
        data=data,
    )
    body = answer.model_dump_json().encode()
    return [
        Outgoing(
            "",
            queue,
            body,
            CONTENT_TYPE,
            type=answer.type,
            correlation_id=delivery.correlation_id,
            mandatory=False,
        )
    ]
