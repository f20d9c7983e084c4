"""Requests on ``control``: what projectors and operators ask of the services that own the truth."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.values import Timestamp

RESEND: Final[Literal["control.resend"]] = "control.resend"
MAX_STREAMS: Final = 1000


class StreamFrom(BaseModel):
    """A stream, and the first version wanted of it."""

    model_config = ConfigDict(frozen=True)

    stream: str
    version: Annotated[int, Field(ge=1)]


class Resend(BaseModel):
    """Send these streams' events again, from the given versions on, to one projection alone. Asking twice is harmless."""

    model_config = ConfigDict(frozen=True)

    projection: str
    streams: Annotated[tuple[StreamFrom, ...], Field(min_length=1, max_length=MAX_STREAMS)]


class ResendRequest(BaseModel):
    """CloudEvents envelope of a Resend."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["control.resend"] = RESEND
    time: Timestamp
    data: Resend
