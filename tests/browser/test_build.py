"""The console's committed files are what its sources build: a user needs no Node, and nothing in them is of another origin."""

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
UNTESTED: Final = "whether the console's sources build the committed files is not tested"
PACKAGES_MISSING: Final = 3
BUILT: Final = ROOT / "query_service" / "console"
MOST_BYTES: Final = 120_000
"""Of script and style together, in gzip."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(300)
def test_the_sources_build_the_committed_files(tmp_path: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip(f"there is no Node here: {UNTESTED}")
    done = subprocess.run(
        [ROOT / "deploy/console/build.sh", tmp_path], capture_output=True, text=True, timeout=280, check=False
    )
    if done.returncode == PACKAGES_MISSING:
        pytest.skip(f"npm cannot get the locked packages: {UNTESTED}")
    assert done.returncode == 0, done.stdout + done.stderr
    built, committed = contents(tmp_path), contents(BUILT)
    assert built.keys() == committed.keys(), "run `make console`, and commit query_service/console"
    assert [name for name in built if built[name] != committed[name]] == [], "run `make console`"


def test_script_and_style_are_small() -> None:
    total = sum(
        len(gzip.compress(body)) for name, body in contents(BUILT).items() if name.endswith((".js", ".css", ".html"))
    )
    assert 20_000 < total <= MOST_BYTES


def test_the_page_has_no_inline_script_or_style() -> None:
    page = (BUILT / "index.html").read_text()
    assert "<style" not in page
    assert "style=" not in page
    assert page.count("<script") == page.count('<script type="module"') == page.count('src="/console/assets/')


def test_no_text_of_others_becomes_markup() -> None:
    sources = [path for path in (ROOT / "deploy/console/src").rglob("*") if path.suffix in (".svelte", ".ts")]
    assert len(sources) > 30
    assert [path.name for path in sources if "{@html" in path.read_text() or "innerHTML" in path.read_text()] == []
