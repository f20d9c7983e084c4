"""The message envelope: CloudEvents 1.0, structured JSON, single or batch.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md (structured and batch modes).

``EnvelopeError`` is the only error that parsing raises: the bytes are not a valid envelope.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal

import msgspec
from jiter import from_json
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from shared.contracts.values import MAX_MESSAGE_BYTES as MAX_MESSAGE_BYTES
from shared.contracts.values import TYPE_NAME, Actor, EventData, Id, SafeText, Timestamp
from shared.messages.trace_context import trace_parent

CONTENT_TYPE: Final = "application/cloudevents+json"
BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"
MAX_BATCH: Final = 100
MAX_DEPTH: Final = 200
"""Of nested JSON values: the parser's own limit (jiter, ``DEFAULT_RECURSION_LIMIT``), far below those of what works with its result."""

_ENCODER: Final = msgspec.json.Encoder()

TypeName = Annotated[str, StringConstraints(pattern=TYPE_NAME)]
Source = Annotated[SafeText, Field(min_length=1, max_length=500)]


class EnvelopeError(ValueError):
    """The bytes are not a CloudEvents envelope; the message says where they deviate."""


def _none_if_unreadable(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValueError:
        return None


class CommandEnvelope(BaseModel):
    """A request to change one stream. ``id`` is the idempotency key; ``data`` is checked against the type's contract.

    Informative attributes (``time``, ``datacontenttype``, ``traceparent``, ``behind``, and all that are not named here) are ignored if
    malformed; a malformed attribute that affects the command's meaning is a reason to refuse it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    specversion: Literal["1.0"] = "1.0"
    id: Id
    source: Source
    type: TypeName
    subject: Id | None = None
    time: Annotated[Timestamp | None, WrapValidator(_none_if_unreadable)] = None
    datacontenttype: Annotated[Literal["application/json"], BeforeValidator(lambda _: "application/json")] = (
        "application/json"
    )
    """Any value is accepted: ``data`` has to be a JSON object anyway."""
    data: dict[str, Any]
    expectedversion: Annotated[int, Field(strict=True, ge=0, le=2**53 - 1)] | None = None
    """The version that the sender last saw; 0: the stream must not exist yet."""
    notbefore: Timestamp | None = None
    actor: Actor | None = None
    """The person or system that requests it; over HTTP the subject of the credential."""
    behind: Annotated[Actor | None, WrapValidator(_none_if_unreadable)] = None
    """The person whom the actor says it acts for; kept as claimed."""
    traceparent: Annotated[str | None, BeforeValidator(trace_parent)] = None


class EventEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """A fact about one stream, to be serialised. ``streamversion`` counts 1, 2, 3 … without gaps within ``subject``."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: EventData
    streamversion: int
    schemaversion: int
    causationid: str
    correlationid: str
    traceparent: str | msgspec.UnsetType | None = msgspec.UNSET
    """Unset rather than None: usually absent, and then serialised without a second pass to remove nulls."""
    actor: str | msgspec.UnsetType = msgspec.UNSET
    """The command's: the person or system that requested the change. Unset if the command names none."""
    behind: str | msgspec.UnsetType = msgspec.UNSET
    """The command's: whom the actor said it acted for."""

    def to_json(self) -> bytes:
        """The JSON without nulls: absent values are omitted."""
        written = _ENCODER.encode(self)
        return written if b"null" not in written else _ENCODER.encode(_without_nulls(msgspec.to_builtins(self)))


class ReceivedEvent(BaseModel):
    """An event as received: ``data`` is plain JSON until the registry converts it to its class."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Annotated[SafeText, Field(max_length=200)]
    subject: Annotated[SafeText, Field(min_length=1, max_length=300)]
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, Any]
    streamversion: Annotated[int, Field(ge=1, le=2**53 - 1)]
    schemaversion: Annotated[int, Field(ge=1)]
    causationid: str
    correlationid: str
    traceparent: str | None = None
    actor: str | None = None


def split(body: bytes, exact: Collection[str] = (), *, keys_once: bool = True) -> Sequence[Any]:
    """The envelopes in a message, as plain JSON values: one for the structured form, several for the batch form.

    The first byte decides the form, not the content type, so that a wrong header loses nothing. ``exact``: the types whose numbers with a
    fraction or an exponent are Decimals, with every digit; all others' are floats. ``keys_once``: an object with a key twice is
    refused; else the last counts, as it does for the fast decoder of events, which this service has written itself.
    Raises EnvelopeError for what is not JSON, not an object or array, or an empty batch.
    """
    elements = _elements(parse(body, keys_once=keys_once))
    if any(_is_of(each, exact) for each in elements):
        exactly = _elements(_exact(body))
        return [one if _is_of(one, exact) else other for one, other in zip(exactly, elements, strict=True)]
    return elements


def parse(body: bytes | str, *, exact: bool = False, keys_once: bool = True) -> Any:
    """The JSON value: no object in it has a key twice (RFC 7493 §2.3), unless ``keys_once`` is false; at most MAX_DEPTH are nested.

    ``exact``: numbers with a fraction or an exponent as Decimals, never as floats. Raises EnvelopeError.
    """
    try:
        text = body.encode() if isinstance(body, str) else body
        parsed = from_json(text, allow_inf_nan=False, catch_duplicate_keys=keys_once)
    except ValueError as error:
        raise EnvelopeError(_described(str(error))) from error
    return _exact(text) if exact else parsed


def _described(error: str) -> str:
    if "recursion limit" in error:
        return f"JSON that is nested too deeply: {MAX_DEPTH} levels are the most"
    if error.startswith("Detected duplicate key"):
        return f"JSON with a key twice: {error.removeprefix('Detected duplicate key ')[:200]}"
    return f"not JSON: {error[:200]}"


def _exact(body: bytes) -> Any:
    """What ``parse`` has accepted, with exact numbers."""
    try:
        return _EXACT.decode(body)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(f"not JSON: {str(error)[:200]}") from error


def _number(text: str) -> Decimal | str:
    """The number; as text if its exponent is beyond what a Decimal can have."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


_EXACT: Final = msgspec.json.Decoder(float_hook=_number)


def _elements(parsed: Any) -> list[Any]:
    if parsed == []:
        raise EnvelopeError("an empty batch")
    return parsed if isinstance(parsed, list) else [parsed]


def _is_of(element: Any, types: Collection[str]) -> bool:
    kind = element.get("type") if isinstance(element, dict) else None
    return isinstance(kind, str) and kind in types


def is_batch(body: bytes) -> bool:
    """Whether a message is in the batch form, by the rule of ``split``."""
    return body.lstrip()[:1] == b"["


def pack(envelopes: Sequence[bytes]) -> bytes:
    """Several serialised envelopes as one batch body. Nothing is parsed again."""
    return b"[" + b",".join(envelopes) + b"]"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list | tuple) else value
