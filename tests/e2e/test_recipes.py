"""README's recipes: exactly these files change, and what they make works, from command to verification."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import ndiff
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(?:#|--) (\S+/\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

CONTEXT = {"shared/contracts/tickets.py", "command_service/domain/tickets.py"}
REGISTRIES = {"shared/contracts/contexts.py", "command_service/domain/kinds.py"}
FOLDER = "projectors/models/board"
READ_MODEL = {
    "shared/views/board.py",
    "query_service/routes/board.py",
    *(f"{FOLDER}/{name}" for name in ("__init__.py", "projection.py", "store.py", "tables.py")),
    f"{FOLDER}/migrations/0001_tickets.sql",
}
LIST = {"shared/read_models.py"}


@dataclass(frozen=True)
class Step:
    """A file that a recipe makes, or, where it ``adds``, lines of one that is there."""

    path: str
    text: str
    adds: bool


def recipe(title: str) -> Iterator[Step]:
    """The code blocks of that section of the README, whose first line is a comment with the file's name."""
    section = (ROOT / "README.md").read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    for language, path, text in BLOCK.findall(section):
        yield Step(
            path, text.replace("\n+", "\n").removeprefix("+") if language == "diff" else text, language == "diff"
        )


def follow(steps: Iterator[Step], tree: Path) -> None:
    for step in steps:
        file = tree / step.path
        file.parent.mkdir(parents=True, exist_ok=True)
        if step.adds:
            file.write_text(_with(file.read_text(), step.text))
        else:
            file.write_text(step.text)


def _with(text: str, line: str) -> str:
    """The line after the last one that begins as it does; an import where it is sorted."""
    beginning = re.match(r"\s*\S+?\b", line)
    assert beginning is not None
    lines = text.splitlines(keepends=True)
    alike = [(index, each) for index, each in enumerate(lines) if each.startswith(beginning[0])]
    last = max(index for index, each in alike if each < line or not line.startswith("from "))
    return "".join([*lines[: last + 1], line, *lines[last + 1 :]])


def changed(tree: Path) -> dict[str, tuple[int, int]]:
    """File → lines that are more, and lines that are less, than in this tree."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(tree.rglob("*")):
        original = ROOT / path.relative_to(tree)
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        before, after = (each.read_text() if each.exists() else None for each in (original, path))
        if before != after:
            signs = [line[0] for line in ndiff((before or "").splitlines(), (after or "").splitlines())]
            found[str(path.relative_to(tree))] = signs.count("+"), signs.count("-")
    return found


@dataclass(frozen=True)
class Made:
    tree: Path
    by_context: dict[str, tuple[int, int]]
    by_both: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A copy of what is under version control, with what the recipes change."""
    tree = tmp_path_factory.mktemp("copy")
    listing = ["git", "ls-files", "-z", "*.py", "*.sql", "*.lua", "*.css"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in listed.split("\0"):
        if name and (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    follow(recipe("A new context"), tree)
    by_context = changed(tree)
    follow(recipe("A new read model"), tree)
    return Made(tree, by_context, changed(tree))


def test_a_context_is_two_files_and_a_line_in_each_registry(made: Made) -> None:
    assert made.by_context.keys() == CONTEXT | REGISTRIES
    assert {name: made.by_context[name] for name in REGISTRIES} == dict.fromkeys(REGISTRIES, (1, 0))


def test_a_read_model_is_a_folder_a_view_a_module_of_routes_and_one_line(made: Made) -> None:
    assert made.by_both.keys() - made.by_context.keys() == READ_MODEL | LIST
    assert made.by_both["shared/read_models.py"] == (1, 0)


def test_what_the_recipes_make_is_as_the_rest_of_the_code(made: Made) -> None:
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--config", str(ROOT / "pyproject.toml"), "."]
        done = subprocess.run(command, cwd=made.tree, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_what_the_recipes_make_works_from_the_command_to_verification(made: Made, tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.recipe_walk", str(log)],
        cwd=made.tree,
        env=os.environ | {"PYTHONPATH": str(made.tree)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{log.read_text()[-3000:] if log.exists() else ''}"
