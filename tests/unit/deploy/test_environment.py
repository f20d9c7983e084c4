"""Settings of a running ``tidemark up``: for what the environment does not set, and for nothing else."""

import os
from pathlib import Path

import pytest

from deploy.run.environment import published, settings

UP = {
    "TIDEMARK_SUMMARY_DB_URL": "postgresql://up/summary",
    "TIDEMARK_SEARCH_DB_URL": "postgresql://up/search",
    "TIDEMARK_ANALYTICS_REDIS_URL": "redis://up",
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*os.environ, *UP):
        if name.startswith("TIDEMARK_"):
            monkeypatch.setenv(name, "")  # so that what the code sets is undone
            monkeypatch.delenv(name)
    return tmp_path / "environment"


def test_what_is_not_set_comes_from_the_running_system(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_SUMMARY_DB_URL", "postgresql://mine")
    with published(UP, file):
        found = settings(file)
    assert [found.store_url(name) for name in ("summary", "search", "analytics")] == [
        "postgresql://mine",
        "postgresql://up/search",
        "redis://up",
    ]


def test_one_url_for_all_read_models_stands_for_each(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_READ_DB_URL", "postgresql://all")
    with published(UP, file):
        found = settings(file)
    assert [found.store_url(name) for name in ("summary", "search", "analytics")] == [
        "postgresql://all",
        "postgresql://all",
        "redis://up",
    ]
