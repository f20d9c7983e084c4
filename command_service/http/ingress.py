"""The HTTP ingress: commands from clients that do not speak AMQP. It publishes to ``commands`` and bypasses nothing.

    POST /commands/{type} ──checked against the contract──▶ [commands] … worker … ──▶ our reply queue ──wakes──▶ outcome, from the database

202 is sent only after the broker has confirmed that it stored the command.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, PathParameter, QueryParameter

from command_service.handling.parsing import CommandKey, digest_of
from command_service.handling.pending import PendingCommand
from command_service.http.asyncapi import document
from command_service.http.command_names import location
from command_service.http.openapi import (
    COMMAND_TYPE,
    DESCRIPTION,
    OUTCOME_RESPONSES,
    SEND_RESPONSES,
    TAG,
    TAGS,
    SendOperation,
)
from command_service.http.outcome_waiting import CommandStatus, OutcomeReader, StoredOutcome, require_same_command
from command_service.http.parameters import refuse_unknown_parameters
from command_service.http.request_reading import read_body, read_envelope, serialise
from command_service.http.responses import consistency_token, outcome_response, pending_response
from command_service.http.senders import own_source, require_sight
from command_service.http.streams import Streams, get_stream, get_stream_events
from command_service.measuring.request_spans import send_traced
from command_service.privacy.personal_data import is_keyed
from command_service.scheduling.acts_switch import ActsSwitch
from shared.contracts.registry import COMMANDS
from shared.http import prefer
from shared.http.identities.guard import (
    AUTHENTICATED,
    AUTHENTICATOR,
    DENIAL_HANDLERS,
    PUBLIC,
    REPORT_DENIAL,
    AuthenticationOff,
    Authenticator,
    Needs,
    ReportDenial,
    authorise,
)
from shared.http.identities.identity import Identity, identity_of
from shared.http.identities.scopes import of_command
from shared.http.json_bodies import require_json
from shared.http.problems import EXCEPTION_HANDLERS, Problem
from shared.http.rate_limits import RATE_LIMITS, RateLimits
from shared.http.service import Service, documentation
from shared.messages.envelope import CONTENT_TYPE, MAX_MESSAGE_BYTES, CommandEnvelope
from shared.messaging import topology
from shared.messaging.broker import BrokerError, BrokerUnavailableError, Outgoing, Publisher
from shared.runtime.health import Probe, troubles
from shared.runtime.reasons import reason

LONGEST_WAIT_S: Final = 30
CERTAIN_WITHIN_S: Final = 5
"""How long a command that is sent again waits for the worker to say whether it is the same, if only the worker can."""
AGAIN_WITHIN_S: Final = 1.0
"""A later failure is no lost connection, but a broker that does not answer."""
OUTCOMES: Final = "outcomes:read"
"""The scope to see the outcomes of all senders."""
OF_COMMAND: Final = Needs(
    lambda request: [of_command(name) for name in [request.path_params["command_type"]] if name in COMMANDS],
    "commands:<the command's type>; erasure:request for privacy.erase-subject",
)
"""A type that there is not needs none: the answer is that there is none."""


@post(
    "/commands/{command_type:str}",
    needs=OF_COMMAND,
    status_code=202,
    raises=[],
    responses=SEND_RESPONSES,
    operation_class=SendOperation,
    tags=[TAG],
    summary="Send a command",
)
async def post_command(
    request: Request[Any, Any, State],
    state: State,
    command_type: Annotated[str, PathParameter(description="Which command.", examples=[Example(value=COMMAND_TYPE)])],
    subject: Annotated[str | None, QueryParameter(description="Id of what the command is about.")] = None,
    expected_version: Annotated[
        int | None,
        QueryParameter(name="expectedversion", ge=0, description="The version you last saw; 0: it must not exist yet."),
    ] = None,
    notbefore: Annotated[
        str | None,
        QueryParameter(max_length=40, description="RFC 3339: decide it then, not before. Send again to change it."),
    ] = None,
) -> Response[bytes]:
    """Send a command: its data as JSON in the body.

    `Idempotency-Key` is the command's id; one is generated if it is missing. `Tidemark-Source` names the sending service, by default the
    credential's subject (`tidemark/http` while authentication is off): ids of different services never collide. Another's source needs the
    scope `sources:<source>`. The same command, sent again with the same key, gets the
    same outcome. 202: the broker has stored it, and the outcome will be at `Location`; with a `reason` there is none yet because of an
    error inside the service. With `Prefer: wait=SECONDS` (at most 30) the outcome itself: 200 when accepted, otherwise a problem with the
    refusal's `code`. Send the `Tidemark-Consistency` of an accepted one with a query, and its result includes the command's effect. 413:
    its envelope on the bus would have more than 1,048,576 bytes.
    """
    ingress: Ingress = state.ingress
    data = await read_body(request, command_type)
    envelope = read_envelope(request, command_type, data, subject, expected_version, notbefore)
    wait = prefer.wait(request.headers.getall(prefer.HEADER, []), LONGEST_WAIT_S)
    return await send_traced(envelope, lambda traced: ingress.send(traced, wait))


@get(
    "/commands/{command_id:str}",
    needs=AUTHENTICATED,
    raises=[],
    responses=OUTCOME_RESPONSES,
    tags=[TAG],
    summary="What became of a command",
)
async def get_outcome(
    request: Request[Any, Any, State],
    state: State,
    command_id: FromPath[str],
    source: Annotated[
        str | None,
        QueryParameter(description="The service that sent it, as `Tidemark-Source` or on the bus."),
    ] = None,
) -> Response[bytes]:
    """The outcome of a command of your own, or of any sender's with the scope `outcomes:read`.

    202 with a `reason`: there is none yet, because of an error inside the service. 404: it is not decided yet,
    or was never received.

    Without `source`: of what you sent without `Tidemark-Source`, or else, with `outcomes:read`, of the one service that has used this
    id; 409 if several have.
    """
    ingress: Ingress = state.ingress
    key, known = await ingress.find(identity_of(request), command_id, source)
    if known is None:
        detail = "no outcome is known for this id: it has not been decided yet, or never came"
        raise Problem(detail, status=404, code="outcome-not-found", headers={"Retry-After": "1"})
    if isinstance(known, PendingCommand):
        return pending_response(key, known)
    return Response(known.body, media_type=CONTENT_TYPE, headers=consistency_token(msgspec.json.decode(known.body)))


@get(
    "/contracts",
    needs=PUBLIC,
    responses={200: ResponseSpec(dict[str, Any], description="The AsyncAPI document.", generate_examples=False)},
)
async def get_contracts() -> Response[bytes]:
    """The messages that other services may send and receive over RabbitMQ: an AsyncAPI 3 document, including JSON Schemas."""
    return Response(_contracts(), media_type="application/json")


@get("/health/live", needs=PUBLIC, include_in_schema=False)
async def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready", needs=PUBLIC, include_in_schema=False)
async def ready(state: State) -> dict[str, str]:
    """503 also while nothing is decided: commands are stored, but have to wait."""
    ingress: Ingress = state.ingress
    return _status(ingress.troubles(), "ready", code="not-ready")


@get("/health/serving", needs=PUBLIC, include_in_schema=False)
async def serving(state: State) -> dict[str, str]:
    """Whether commands can be accepted and stored: for load balancers."""
    ingress: Ingress = state.ingress
    found = ingress.troubles()
    blocking = {name: words for name, words in found.items() if name not in ingress.serves_without}
    return _status(blocking, "serving", code="not-serving")


def _status(found: Mapping[str, str], status: str, *, code: str) -> dict[str, str]:
    if found:
        detail = "; ".join(f"{name}: {words}" for name, words in found.items())
        raise Problem(detail, status=503, code=code, headers={"Retry-After": "1"})
    return {"status": status}


class Ingress:
    """Publishes commands and waits for outcomes."""

    def __init__(
        self,
        publisher: Publisher,
        outcomes: OutcomeReader,
        probes: Mapping[str, Probe] | None = None,
        *,
        serves_without: Collection[str] = (),
    ) -> None:
        """``probes``: what readiness depends on; ``serves_without``: those whose failure does not keep commands from being accepted."""
        self._publisher = publisher
        self.outcomes = outcomes
        self._probes = probes or {}
        self.serves_without = serves_without

    def troubles(self) -> Mapping[str, str]:
        return troubles(self._probes)

    async def send(self, envelope: CommandEnvelope, wait: int) -> Response[bytes]:
        key, digest, body = (envelope.source, envelope.id), digest_of(envelope), serialise(envelope)
        known = await self.outcomes.read(key)
        require_same_command(known, digest)
        is_uncertain = known is not None and known.digest is not None and is_keyed(known.digest)
        seconds = wait or (CERTAIN_WITHIN_S if is_uncertain else 0)
        with self.outcomes.awaiting(key, digest) as awaited:
            await self.publish(_message(envelope, body, self.outcomes.reply_to if seconds else None), key)
            if seconds:
                known = await self.outcomes.wait(key, awaited, seconds)
                if wait and isinstance(known, StoredOutcome):
                    headers = {"Location": location(key), prefer.APPLIED: f"wait={wait}"}
                    return outcome_response(known.body, headers)
        return pending_response(key, known if isinstance(known, PendingCommand) else None)

    async def find(
        self, identity: Identity, command_id: str, source: str | None, scope: str = OUTCOMES
    ) -> tuple[CommandKey, CommandStatus | None]:
        """What is known of a command, and its key. ``scope``: to see all senders'.

        Raises ForbiddenError, and Problem where the id is ambiguous without the source.
        """
        key = (source or own_source(identity), command_id)
        require_sight(identity, key[0], scope)
        known = await self.outcomes.read(key)
        sees_all = identity.may(scope)
        if isinstance(known, StoredOutcome) and not known.source and not sees_all:
            known = None  # whose it is was not stored then
        if known is not None or source is not None or not sees_all:
            return key, known
        others = await self.outcomes.sources(command_id)
        if len(others) > 1:
            detail = "several services have sent a command with this id: say which one in ?source="
            raise Problem(detail, status=409, code="source-needed")
        for other in others:
            key = (other, command_id)
            known = await self.outcomes.read(key)
        return key, known

    async def publish(self, message: Outgoing, key: CommandKey) -> None:
        """Raises Problem where RabbitMQ has not confirmed it.

        Where the connection is lost, as when an administrator closes it, it is published once more: a command is decided once.
        """
        began = time.monotonic()
        try:
            try:
                await self._publisher.publish(message)
            except BrokerUnavailableError:
                if time.monotonic() - began > AGAIN_WITHIN_S:
                    raise
                await self._publisher.publish(message)
        except BrokerError as error:
            detail = (
                "RabbitMQ has not confirmed that it keeps the command; it may have been kept all the same: "
                f"send it again with the same Idempotency-Key ({reason(error)})"
            )
            headers = {"Retry-After": "2", "Location": location(key)}
            raise Problem(detail, status=503, code="broker-unavailable", headers=headers) from error


def _message(envelope: CommandEnvelope, body: bytes, reply_to: str | None) -> Outgoing:
    return Outgoing(
        topology.COMMANDS,
        envelope.type,
        body,
        CONTENT_TYPE,
        type=envelope.type,
        correlation_id=envelope.id,
        reply_to=reply_to,
    )


class CommandService(Service):
    schema_alias = "/schema/commands"


def create_app(
    ingress: Ingress,
    streams: Streams,
    more_routes: Sequence[BaseRouteHandler] = (),
    *,
    authenticator: Authenticator | None = None,
    limits: RateLimits | None = None,
    report_denial: ReportDenial | None = None,
    acts: ActsSwitch | None = None,
) -> Litestar:
    """``authenticator``: whose requests they are; without one, as with ``TIDEMARK_AUTH=off``. ``report_denial``: has refusals recorded.
    ``limits``: of requests of one identity; default: none. ``acts``: whether operators may act; default: they may."""
    return CommandService(
        route_handlers=[
            post_command,
            get_outcome,
            *more_routes,
            get_stream,
            get_stream_events,
            get_contracts,
            live,
            ready,
            serving,
        ],
        state=State(
            {
                "ingress": ingress,
                "streams": streams,
                AUTHENTICATOR: authenticator or AuthenticationOff(),
                RATE_LIMITS: limits,
                REPORT_DENIAL: report_denial,
                "acts": acts,
            }
        ),
        exception_handlers={**EXCEPTION_HANDLERS, **DENIAL_HANDLERS},
        guards=[authorise, refuse_unknown_parameters, require_json],
        request_max_body_size=MAX_MESSAGE_BYTES,
        openapi_config=documentation(
            title="Tidemark command service",
            version="1",
            description=DESCRIPTION,
            tags=TAGS,
        ),
        logging_config=None,
    )


@cache
def _contracts() -> bytes:
    return msgspec.json.encode(document())
