"""Logs: one event a line in either form, levels by module, and neither repetition without end nor data."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel, ValidationError

from shared.observability import logs
from shared.observability.families import REGISTRY
from shared.observability.logs import BURST, WINDOW_S, JsonFormatter, Repetition, levels, set_up

CANARY = "ann@example.org"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("projectors.runtime", "shared.messaging", "aio_pika", "aiormq", "httpx")
    before = {name: logging.getLogger(name).level for name in names}
    hook = sys.excepthook
    yield io.StringIO()
    sys.excepthook = hook
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, its_level in before.items():
        logging.getLogger(name).setLevel(its_level)


def records(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(text) for text in output.getvalue().splitlines()]


class Customer(BaseModel):
    email: int


def invalid() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Customer.model_validate({"email": CANARY})
    return caught.value


def taken() -> asyncpg.PostgresError:
    fields = {
        "C": "23505",
        "M": "duplicate key value violates a constraint",
        "D": f"Key (email)=({CANARY}) already exists.",
    }
    error = asyncpg.PostgresError.new(fields)
    assert CANARY in str(error)
    return error


def fail(cause: Exception) -> None:
    raise RuntimeError("could not be stored") from cause


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("error", [invalid(), taken()], ids=["pydantic", "postgres"])
def test_data_that_a_library_adds_to_its_errors_is_left_out(
    output: io.StringIO, form: logs.Format, error: Exception
) -> None:
    set_up("worker", level="INFO", by_module="", form=form, stream=output)
    log = logging.getLogger("tests.logs")
    log.warning("dropped: %s", error)
    try:
        fail(error)
    except RuntimeError:
        log.exception("failed")
    text = output.getvalue()
    assert "dropped: " in text
    assert "RuntimeError: could not be stored" in text
    assert "caused by " + type(error).__name__ in text
    assert "test_logs.py" in text
    assert CANARY not in text


def test_a_line_of_json_is_one_event_with_its_ids(output: io.StringIO) -> None:
    set_up("worker", level="INFO", by_module="", form="json", stream=output)
    log = logging.getLogger("tests.logs")
    log.warning(
        "two\nlines, %d %% and \x1b[31m", 7, extra={"command_id": "c-1", "projection": "search", "payload": CANARY}
    )
    log.error("failed", exc_info=KeyError("x"))
    first, second = records(output)
    assert first["message"] == "two\nlines, 7 % and \x1b[31m"
    assert (first["level"], first["process"], first["logger"]) == ("warning", "worker", "tests.logs")
    assert (first["command_id"], first["projection"]) == ("c-1", "search")
    assert "payload" not in first
    assert first["time"].endswith("Z")
    assert second["exception"].startswith("KeyError: 'x'\n")


def test_modules_have_levels_of_their_own(output: io.StringIO) -> None:
    chosen = "projectors.runtime=debug, shared.messaging=ERROR"
    set_up("worker", level="INFO", by_module=chosen, form="text", stream=output)
    logging.getLogger("projectors.runtime.consumer").debug("shown")
    logging.getLogger("projectors.rebuild").debug("hidden")
    logging.getLogger("shared.messaging.broker").warning("hidden")
    logging.getLogger("command_service").info("shown")
    assert output.getvalue().splitlines() == ["DEBUG projectors.runtime.consumer: shown", "INFO command_service: shown"]


@pytest.mark.parametrize("text", ["x", "x=", "=DEBUG", "x=LOUD", "x=INFO,y"])
def test_a_level_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="TIDEMARK_LOG_LEVELS: "):
        levels(text)


def test_lines_that_repeat_are_left_out_counted_and_come_back() -> None:
    now = 0.0
    repetition = Repetition(lambda: now)
    before = REGISTRY.get_sample_value("tidemark_log_lines_suppressed_total") or 0

    def passes(message: str, *args: object, level: int = logging.INFO) -> str | None:
        record = logging.LogRecord("tests", level, "", 0, message, args, None)
        return record.getMessage() if repetition.filter(record) else None

    written = [passes("event %d, 5 %%, failed", number) for number in range(100)]
    assert sum(each is not None for each in written) == BURST
    assert passes("another line") == "another line"
    assert passes("event %d, 5 %%, failed", 1, level=logging.CRITICAL) is not None
    now = WINDOW_S + 1
    assert (
        passes("event %d, 5 %%, failed", 7)
        == f"event 7, 5 %, failed ({100 - BURST} lines like this one were left out before)"
    )
    assert passes("event %d failed: 100 %%", 8) == "event 8 failed: 100 %"
    assert (REGISTRY.get_sample_value("tidemark_log_lines_suppressed_total") or 0) - before == 100 - BURST


def test_many_different_lines_do_not_fill_the_memory() -> None:
    repetition = Repetition()
    for number in range(3 * logs.MAX_KEYS):
        repetition.filter(logging.LogRecord("tests", logging.INFO, "", 0, f"line {number}", None, None))
    assert len(repetition._windows) == logs.MAX_KEYS


PROGRAM = """
import os
from shared.runtime.process import Process, execute
async def main(settings):
    process = Process("worker")
    if os.environ.get("FAIL") == "start":
        raise ValueError("no\\nway")
    if os.environ.get("FAIL") == "bug":
        raise KeyError("bug")
    async def work():
        process.stopping.set()
    async def wait():
        await process.stopping.wait()
    import asyncio
    asyncio.get_running_loop().call_later(0.3, process.stopping.set)
    return await process.run({"wait": wait}, background={}, probes={})
execute("worker", main)
"""


@pytest.mark.parametrize("fail", ["", "start", "bug"])
def test_all_that_a_process_says_is_json(fail: str) -> None:
    environ = {"TIDEMARK_LOG_FORMAT": "json", "FAIL": fail, "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    said = [json.loads(text) for text in (done.stdout + done.stderr).splitlines()]
    assert done.returncode == (1 if fail else 0)
    expected = {"": "tidemark ready: worker", "start": "worker: no way", "bug": "the process failed"}[fail]
    assert expected in [each["message"] for each in said]
    assert JsonFormatter("x")


def test_a_wrong_setting_is_one_line_and_exit_code_1() -> None:
    for name, value in (("LOG_LEVELS", "x=LOUD"), ("LOG_LEVEL", "LOUD")):
        environ = {f"TIDEMARK_{name}": value, "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
