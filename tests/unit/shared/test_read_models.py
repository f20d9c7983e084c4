"""The list of read models: what cannot be is refused at once, and an unknown name is a clear error."""

import pytest

from shared.read_models import NAMES, ReadModel, StoreKind, UnknownReadModelError, check, named
from shared.runtime.settings import MissingSettingError, Settings


def test_a_kind_that_no_context_has_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"'board' reads tikets, a kind that no context has; there are .*orders"):
        check([ReadModel("board", StoreKind.POSTGRES, ("orders", "tikets"))])


def test_a_name_is_there_once() -> None:
    with pytest.raises(TypeError, match="two read models 'board'"):
        check([ReadModel("board", StoreKind.POSTGRES, ()), ReadModel("board", StoreKind.REDIS, ())])


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UnknownReadModelError, match=f"'nope'; there are {', '.join(NAMES)}"):
        named("nope")
    with pytest.raises(UnknownReadModelError):
        Settings().store_url("nope")


def test_read_models_in_postgresql_share_one_url_unless_they_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("READ_DB_URL", "SUMMARY_DB_URL", "SEARCH_DB_URL", "ANALYTICS_REDIS_URL"):
        monkeypatch.delenv(f"TIDEMARK_{name}", raising=False)
    monkeypatch.setenv("TIDEMARK_READ_DB_URL", "postgresql://all")
    monkeypatch.setenv("TIDEMARK_SEARCH_DB_URL", "postgresql://search")
    settings = Settings()
    assert (settings.store_url("summary"), settings.store_url("search")) == ("postgresql://all", "postgresql://search")
    with pytest.raises(MissingSettingError, match="TIDEMARK_ANALYTICS_REDIS_URL"):
        settings.store_url("analytics")
    monkeypatch.delenv("TIDEMARK_READ_DB_URL")
    with pytest.raises(
        MissingSettingError, match="TIDEMARK_SUMMARY_DB_URL is not set, and neither is TIDEMARK_READ_DB_URL"
    ):
        Settings().store_url("summary")
