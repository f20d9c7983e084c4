"""Operators' requests: each is carried out once, even if the broker redelivers it, and always gets a reply.

    [control.operations] ──▶ parse ──▶ one transaction: the action, its audit, the reply by request id ──▶ reply, confirmed ──▶ acknowledge
                               └── refused: a reply with a code; nothing is written

A repeated request id gets the same reply; with a different body it is refused. A dry run writes nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import asyncpg
from pydantic import ValidationError
from pydantic_core import from_json

from projectors.dead_letters.actions.alerting import report_alerts
from projectors.dead_letters.actions.annotating import annotate, forbid_acts
from projectors.dead_letters.actions.checking import cancel_check, check
from projectors.dead_letters.actions.editing import edit
from projectors.dead_letters.actions.refusal import Refusal
from projectors.dead_letters.actions.selecting import discard, replay
from projectors.dead_letters.actions.steering import steer
from projectors.dead_letters.outage import is_outage
from projectors.dead_letters.outgoing import SOURCE
from projectors.dead_letters.sealing import Sealing
from shared.contracts.validation_errors import describe
from shared.messages.control import ControlData, Discard, Edit, Replay, Request, Steer
from shared.messages.envelope import CONTENT_TYPE
from shared.messages.operator_requests import Annotate, CancelCheck, Check, ForbidActs, ReportAlerts
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.messaging.reply_to import reply_queue
from shared.runtime.postgres import Database
from shared.views.operations import ACCEPTED, REJECTED, Done, OperationAnswer, Refused

log: Final = logging.getLogger(__name__)

PRIOR_ANSWER: Final = "SELECT digest, answer::text AS answer FROM requests WHERE request_id = $1"
STORE_ANSWER: Final = "INSERT INTO requests (request_id, verb, digest, answer) VALUES ($1, $2, $3, $4::jsonb)"

Action = Callable[..., Awaitable[Done]]

VERBS: Final[dict[str, tuple[type[Request[Any]], Action]]] = {
    "replay": (Request[Replay], replay),
    "discard": (Request[Discard], discard),
    "edit": (Request[Edit], edit),  # with what seals it as well
    "steer": (Request[Steer], steer),
    "annotate": (Request[Annotate], annotate),
    "forbid-acts": (Request[ForbidActs], forbid_acts),
    "check": (Request[Check], check),
    "cancel-check": (Request[CancelCheck], cancel_check),
    "alerts": (Request[ReportAlerts], report_alerts),
}
"""Routing key → the type of the request, and the action that carries it out."""


async def handle(database: Database, delivery: Delivery, seal: Sealing) -> Done | Refused:
    """Carries out the request. Raises only outages (``is_outage``): then nothing was done, or its id is stored with its result."""
    verb = delivery.routing_key
    request_id = _id_in(delivery.body)
    try:
        return await _handle(database, delivery, request_id, seal)
    except Refusal as refusal:
        return _refused(request_id, verb, refusal)
    except ValidationError as error:
        return _refused(request_id, verb, Refusal("validation-failed", "the request is not valid", describe(error)))
    except (asyncpg.DataError, ValueError) as error:
        return _refused(request_id, verb, Refusal("validation-failed", str(error)[:300]))
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("a %s request failed", verb)
        return _refused(
            request_id, verb, Refusal("internal-error", "an error inside the dead-letter worker; it has been logged")
        )


def reply(delivery: Delivery, result: Done | Refused) -> Outgoing | None:
    """The reply, if the request named a reply queue; otherwise None. If that queue no longer exists, the broker drops the reply."""
    queue = reply_queue(delivery.reply_to)
    if queue is None:
        return None
    kind = ACCEPTED if isinstance(result, Done) else REJECTED
    envelope = OperationAnswer(id=_answer_id(result), source=SOURCE, type=kind, time=datetime.now(UTC), data=result)
    return Outgoing(
        exchange=topology.REPLIES,
        routing_key=queue,
        body=envelope.model_dump_json(exclude_none=True).encode(),
        content_type=CONTENT_TYPE,
        type=kind,
        correlation_id=delivery.correlation_id,
        mandatory=False,
    )


async def _handle(database: Database, delivery: Delivery, request_id: str, seal: Sealing) -> Done:
    known = VERBS.get(delivery.routing_key)
    if known is None:
        raise Refusal("validation-failed", f"there is no operation {delivery.routing_key!r}")
    shape, act = known
    request: Request[ControlData] = shape.model_validate_json(delivery.body)
    content = delivery.routing_key.encode() + request.data.model_dump_json(exclude={"may"}).encode()
    plain = sha256(content).digest()
    digest = await seal.digest(content) if isinstance(request.data, Edit) else plain
    pool = await database.pool()
    async with pool.acquire(timeout=10) as connection, connection.transaction():
        before = await connection.fetchrow(PRIOR_ANSWER, request_id)
        if before is not None:
            if before["digest"] not in (digest, plain):  # of an edit from before, it is in clear
                raise Refusal("request-id-reused", "this id belongs to another request")
            return Done.model_validate_json(before["answer"])
        if isinstance(request.data, Edit):
            done = await edit(connection, request.data, request_id, seal)
        else:
            done = await act(connection, request.data, request_id)
        if not done.dry_run:
            await connection.execute(STORE_ANSWER, request_id, delivery.routing_key, digest, done.model_dump_json())
    return done


def _answer_id(result: Done | Refused) -> str:
    """The reply's id. Replies that are not stored may differ the next time, so their ids include a digest: equal ids mean equal content."""
    kept = isinstance(result, Done) and not result.dry_run
    digest = "" if kept else f"/{sha256(result.model_dump_json().encode()).hexdigest()[:32]}"
    return f"{result.request_id}/answer{digest}"


def _id_in(body: bytes) -> str:
    """The request's id, if it can be read; otherwise empty. A refusal names the request that it answers."""
    try:
        parsed = from_json(body)
    except ValueError:
        return ""
    found = parsed.get("id") if isinstance(parsed, dict) else None
    return found[:200] if isinstance(found, str) else ""


def _refused(request_id: str, verb: str, refusal: Refusal) -> Refused:
    return Refused(request_id=request_id, verb=verb, code=refusal.code, message=refusal.message, errors=refusal.errors)
