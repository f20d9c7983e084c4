"""The settings of each projector: ``TIDEMARK_SUMMARY_BATCH``, ``TIDEMARK_SEARCH_RETRIES``, ``TIDEMARK_ANALYTICS_LONGEST_PAUSE_S`` …"""

from typing import Annotated, Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.messaging import topology
from shared.runtime.settings import Settings


class Options(BaseSettings):
    model_config = SettingsConfigDict(frozen=True)

    batch: Annotated[int, Field(ge=1, le=5000)] = 500
    """The most events applied in one transaction."""
    retries: Annotated[int, Field(ge=0, le=len(topology.RETRY_TIERS))] = len(topology.RETRY_TIERS)
    """How many delay tiers a failing event passes before it is a dead letter."""
    longest_pause_s: Annotated[float, Field(gt=0, le=300)] = 5.0
    """The longest pause between two attempts while the store is unavailable."""
    lanes: int = 4

    @classmethod
    def of(cls, projector: str, settings: Settings) -> Self:
        """Raises pydantic.ValidationError, naming the setting, for one that is out of range."""
        return cls(
            _env_prefix=f"TIDEMARK_{projector.upper().replace('-', '_')}_",
            lanes=settings.lanes,
        )
