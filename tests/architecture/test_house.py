"""The structure holds: the top level, the size of folders and modules, their names, and who imports whom."""

import ast
import io
import re
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from pylint.checkers.symilar import Symilar

from shared.read_models import NAMES

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
PACKAGES = ("command_service", "query_service", "projectors", "shared", "deploy")
MAX_LINES = 350
MAX_TEST_LINES = 500
MAX_MODULES = 15
MAX_CLONE_LINES = 12
MAX_PATH = 30
RIDDLES = ("whoever", "somebody", "owed", "told", "hears", "herald", "courier", "patience")
EMPTY_WORDS = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_the_top_level_is_what_the_design_says() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP


def modules() -> list[Path]:
    """The product's own, tests aside."""
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)


def test_modules_and_folders_are_small() -> None:
    sizes = {path: path.read_text().count("\n") for path in tracked() if path.suffix == ".py"}
    product = set(modules())
    too_long = {
        str(path): lines for path, lines in sizes.items() if lines > (MAX_LINES if path in product else MAX_TEST_LINES)
    }
    assert not too_long
    folders = Counter(path.parent for path in product if path.name != "__init__.py")
    assert not {str(folder): count for folder, count in folders.items() if count > MAX_MODULES}


def test_no_modules_import_each_other_in_a_circle(imports: grimp.ImportGraph) -> None:
    importers = {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
    assert len(importers) > 300
    assert list(TopologicalSorter(importers).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("name", NAMES)
def test_a_read_model_s_code_uses_no_other_read_model_s_view(imports: grimp.ImportGraph, name: str) -> None:
    own = {f"projectors.models.{name}", *imports.find_descendants(f"projectors.models.{name}"), f"shared.views.{name}"}
    used = {used for module in own for used in imports.find_modules_directly_imported_by(module)}
    assert not used & {f"shared.views.{other}" for other in NAMES if other != name}


def test_the_path_of_a_command_in_the_readme_is_at_most_30_files_that_are_there() -> None:
    section = (ROOT / "README.md").read_text().split("The whole path of `orders.pay-order`", 1)[1].split("\n## ", 1)[0]
    listed = re.findall(r"`((?:shared|command_service|projectors|query_service)/[\w/]+\.py)`", section)
    assert 20 < len(listed) == len(set(listed)) <= MAX_PATH
    assert not [name for name in listed if not (ROOT / name).exists()]


def test_no_two_sub_packages_have_the_same_code() -> None:
    """Comments, docstrings, imports and signatures aside, no run of more than MAX_CLONE_LINES lines is in two modules."""
    detector = Symilar(
        min_lines=MAX_CLONE_LINES,
        ignore_comments=True,
        ignore_docstrings=True,
        ignore_imports=True,
        ignore_signatures=True,
    )
    for path in modules():
        with path.open() as source:
            detector.append_stream(str(path.relative_to(ROOT)), source)
    clones = [
        (lines, sorted({place[0].name for place in places}))
        for lines, places in detector._compute_sims()
        if len({str(Path(place[0].name).parent) for place in places}) > 1
    ]
    assert not clones


def test_no_module_has_an_empty_word_as_its_name() -> None:
    assert not [path for path in tracked() if path.stem in EMPTY_WORDS]


def test_prose_uses_plain_words() -> None:
    """A reader should not have to guess who is meant, or who was told."""
    riddles = re.compile(rf"\b({'|'.join(RIDDLES)})\b", re.IGNORECASE)
    found = [(str(path), text) for path in modules() for text in prose_of(path) if riddles.search(text)]
    assert not found


def prose_of(path: Path) -> Iterator[str]:
    """Docstrings, of constants as well, and comments."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@pytest.mark.parametrize("package", ["command_service/domain", "shared/contracts", "shared/views"])
def test_pure_modules_ask_no_clock(package: str) -> None:
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
