"""The settings of telemetry alone: ``TIDEMARK_TELEMETRY_RETENTION_DAYS``."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TelemetryOptions(BaseSettings):
    """Raises pydantic.ValidationError, naming the setting, for one that is out of range."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_TELEMETRY_", frozen=True, env_ignore_empty=True)

    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """How long readings are kept, by their own time, in whole months beyond this many days; None: for ever."""
