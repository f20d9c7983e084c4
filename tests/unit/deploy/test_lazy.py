"""The command line imports what a command needs when it is called, and says of the rest what that says of itself."""

import subprocess
import sys
from importlib import import_module

import pytest
from typer.main import get_group

from deploy.cli.main import app

DRIVERS = ("aio_pika", "asyncpg", "faststream", "litestar", "redis")
GROUPS = {
    "dead-letters": "deploy.cli.dead_letters.commands",
    "epoch": "deploy.cli.epoch",
    "projections": "deploy.cli.projections.commands",
}


@pytest.mark.parametrize(("name", "module"), GROUPS.items())
def test_a_group_that_is_imported_later_says_the_same_before(name: str, module: str) -> None:
    before, group = get_group(app).commands[name], get_group(import_module(module).app)
    assert before.get_short_help_str(200) == group.get_short_help_str(200)


def test_help_needs_no_driver() -> None:
    asked = f"""
import sys
from deploy.cli.main import app
app(["--help"], standalone_mode=False)
sys.exit([name for name in {DRIVERS} if name in sys.modules] or 0)
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_dead_letters_are_listed_without_a_broker() -> None:
    asked = f"""
import sys
import deploy.cli.dead_letters.commands
sys.exit([name for name in {DRIVERS} if name != "asyncpg" and name in sys.modules] or 0)
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
