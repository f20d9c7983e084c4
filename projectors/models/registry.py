"""Every read model there is, by name: how a store for one of its generations is made, and its registry. A new one is a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from projectors.generations.registry import GenerationRegistry
from projectors.models.analytics.generation_registry import AnalyticsRegistry
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.rebuild.batch_sizer import MOMENT_S
from projectors.rebuild.history_batches import UNDER_WAY
from projectors.stores.port import Store
from projectors.stores.postgres_registry import PostgresRegistry
from shared.runtime.settings import Settings
from shared.views import analytics, search, summary
from shared.views.generations import FIRST, generation_name, registry_key


@dataclass(frozen=True)
class ReadModel:
    store: Callable[[Settings, int], Store]
    """For the generation of that number."""
    registry: Callable[[Settings], GenerationRegistry]
    portions: int = UNDER_WAY
    """How many portions of history are under way at once, where no live events come."""
    moment_s: float = MOMENT_S
    """How long a portion may take beside live events."""


def _analytics(settings: Settings, number: int) -> Store:
    entry = None if number == FIRST else (registry_key(analytics.PREFIX), str(number))
    prefix = generation_name(analytics.PREFIX, number)
    return AnalyticsStore(settings.require("analytics_redis_url"), prefix, entry=entry)


READ_MODELS: Final[Mapping[str, ReadModel]] = {
    "summary": ReadModel(
        lambda settings, n: SummaryStore(settings.require("summary_db_url"), generation_name(summary.SCHEMA, n)),
        lambda settings: PostgresRegistry("summary", settings.require("summary_db_url")),
    ),
    "analytics": ReadModel(
        _analytics,
        lambda settings: AnalyticsRegistry(settings.require("analytics_redis_url")),
        # Redis does one thing at a time: a portion's positions wait behind the commits of others, and it waits for nothing itself.
        portions=8,
        # And live events wait for all that is under way, not for their share of the machine alone.
        moment_s=0.15,
    ),
    "search": ReadModel(
        lambda settings, n: SearchStore(settings.require("search_db_url"), generation_name(search.SCHEMA, n)),
        lambda settings: PostgresRegistry("search", settings.require("search_db_url")),
    ),
}
