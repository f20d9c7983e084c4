"""The house keeps its shape: its rooms, their size, and the words on their doors."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOP = {
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "command_service",
    "deploy",
    "docker-compose.yml",
    "projectors",
    "pyproject.toml",
    "query_service",
    "shared",
    "tests",
    "uv.lock",
}
WALL = 500
EMPTY_WORDS = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_the_top_level_is_what_the_design_says() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP


def test_no_module_is_a_hall() -> None:
    sizes = {path: path.read_text().count("\n") for path in tracked() if path.suffix == ".py"}
    assert not {str(path): lines for path, lines in sizes.items() if lines > WALL}


def test_no_door_bears_an_empty_word() -> None:
    assert not [path for path in tracked() if path.stem in EMPTY_WORDS]


@pytest.mark.parametrize("package", ["command_service/domain", "shared/contracts", "shared/views"])
def test_pure_rooms_ask_no_clock(package: str) -> None:
    for path in (ROOT / package).glob("*.py"):
        text = path.read_text()
        assert "now(" not in text, path
        assert "time.time(" not in text, path


def test_every_decision_says_what_would_make_us_revisit_it() -> None:
    decisions = sorted((ROOT / "deploy" / "decisions").glob("*.md"))
    assert len(decisions) >= 5
    for path in decisions:
        text = path.read_text()
        assert "**Context.**" in text, path
        assert "**Decision.**" in text, path
        assert "revisit this" in text, path
