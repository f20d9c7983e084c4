"""Every read model there is, by name. A new one is a folder, and a line here."""

from collections.abc import Callable, Mapping
from typing import Final

from projectors.analytics.store import AnalyticsStore
from projectors.projection import Store
from projectors.search.store import SearchStore
from projectors.summary.store import SummaryStore
from shared.settings import Settings

STORES: Final[Mapping[str, Callable[[Settings], Store]]] = {
    "summary": lambda settings: SummaryStore(settings.require("summary_db_url")),
    "analytics": lambda settings: AnalyticsStore(settings.require("analytics_redis_url")),
    "search": lambda settings: SearchStore(settings.require("search_db_url")),
}
