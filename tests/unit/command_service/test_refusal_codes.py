"""The list of refusal codes is the code's own: whatever is raised is in it, and whatever is in it is raised."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from deploy.cli.main import app
from shared.contracts.refusals import HTTP_REFUSALS
from shared.contracts.registry import REFUSALS
from shared.http import problems

ROOT = Path(__file__).parents[3]
SOURCES = [
    *sorted((ROOT / "command_service").rglob("*.py")),
    *(ROOT / "shared" / "http" / name for name in ("problems.py", "identities/guard.py")),
]
POSITION = {
    "Refused": 0,
    "Invalid": 0,
    "Claim": 2,
    "rejection": 1,
    "Undecodable": 1,
    "_unreadable": 1,
}
"""Where the calls that refuse have their code, unless they name it ``code``."""


def refused_in(source: Path) -> Iterator[str]:
    tree = ast.parse(source.read_text())
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in [node.target]
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and [ast.unparse(one) for one in node.targets] == ["code"]
        ):
            yield str(node.value.value)
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        position = POSITION.get(name)
        given: list[ast.expr | None] = [one.value for one in node.keywords if one.arg == "code"]
        if position is not None and len(node.args) > position:
            given.append(node.args[position])
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value
            elif isinstance(value, ast.Name) and isinstance(constants.get(value.id), str):
                yield str(constants[value.id])


def refused() -> set[str]:
    calls = {code for source in SOURCES for code in refused_in(source)}
    framework = {*problems._CODES.values(), problems.Problem.code, "request-refused", "invalid-parameter"}
    return calls | framework


def test_every_code_that_is_raised_is_in_the_list_and_every_one_in_the_list_is_raised() -> None:
    assert len(refused()) > 20
    assert refused() == {*REFUSALS, *HTTP_REFUSALS}


def test_no_code_means_two_things() -> None:
    assert not REFUSALS.keys() & HTTP_REFUSALS.keys()


def test_the_command_line_tells_what_each_code_means_and_whether_to_try_again() -> None:
    listed = {row["code"]: row for row in json.loads(CliRunner().invoke(app, ["codes", "--output", "json"]).stdout)}
    assert listed.keys() == {*REFUSALS, *HTTP_REFUSALS}
    for code, row in listed.items():
        assert row["meaning"].endswith("."), code
        assert row["retry"] in {"new-id", "same-id", "later"}
