"""Logs: one event a line, as text for people or as JSON for programs, on standard error; ids of commands and streams, but no payloads.

    log.warning("…", extra={"command_id": …})  ──levels by module──▶ Repetition ──▶ text:  WARNING command_service.handling: …
                                                                             └──▶ json:  {"time": …, "level": "warning", "message": …}

- ``TIDEMARK_LOG_FORMAT`` is ``text`` or ``json``, ``TIDEMARK_LOG_LEVEL`` the level of all modules,
  ``TIDEMARK_LOG_LEVELS=projectors.runtime=DEBUG,shared.messaging=WARNING`` that of some, with everything below them.
- Of lines that differ only in their values, BURST are written in WINDOW_S seconds; the next one says how many were left out. What is
  critical is always written.
- An exception is written with its chain and the places in the code. What a library appends to it from the data (the input of a
  validation error, the row in the detail of a database error) is left out.
"""

import json
import logging
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO

from shared.observability.metrics import REPEATED
from shared.runtime.reasons import reason

Format = Literal["text", "json"]

FIELDS: Final = ("command_id", "command_type", "projection", "stream", "version", "event_type", "reason", "trace_id")
"""What a line may have besides its message, given as ``extra``: ids and names, never data."""
TEXT: Final = "%(levelname)s %(name)s: %(message)s"
NOISY: Final = ("aio_pika", "aiormq", "httpx")
BURST: Final = 20
WINDOW_S: Final = 10.0
MAX_KEYS: Final = 500
MAX_CHAIN: Final = 5


def levels(text: str) -> Mapping[str, str]:
    """Module → level, from ``TIDEMARK_LOG_LEVELS``. Raises ValueError, which says what is wrong."""
    found: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        module, equals, level = part.partition("=")
        if not (module and equals) or level.upper() not in logging.getLevelNamesMapping():
            raise ValueError(f"TIDEMARK_LOG_LEVELS: {part!r} is not <module>=<level>")
        found[module] = level.upper()
    return found


def set_up(process: str, *, level: str, by_module: str, form: Format, stream: TextIO | None = None) -> None:
    """Write the logs of this process to standard error. Raises ValueError for a level that is none."""
    chosen = levels(by_module)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process) if form == "json" else TextFormatter(TEXT))
    handler.addFilter(Repetition())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
    for module, its_level in chosen.items():
        logging.getLogger(module).setLevel(its_level)
    logging.captureWarnings(True)
    if form == "json":
        sys.excepthook = _log_uncaught


def line(process: str, message: str, *, form: Format, level: int = logging.INFO) -> str:
    """A line of its own, such as ``tidemark ready: worker``, in the form of the logs."""
    if form == "text":
        return message
    return JsonFormatter(process).format(logging.LogRecord("tidemark", level, "", 0, message, None, None))


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(_without_data(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(_chain(ei[1]))


class JsonFormatter(TextFormatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="microseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": _without_data(record).getMessage(),
        }
        document |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


@dataclass(slots=True)
class _Window:
    began: float
    written: int = 0
    left_out: int = 0


class Repetition(logging.Filter):
    """Leaves out lines beyond BURST in WINDOW_S, of one template of one logger."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL:
            return True
        key, now = (record.name, str(record.msg)), self._clock()
        window = self._windows.get(key)
        left_out = 0
        if window is None or now - window.began >= WINDOW_S:
            left_out = 0 if window is None else window.left_out
            window = self._windows[key] = _Window(now)
            self._windows.move_to_end(key)
            if len(self._windows) > MAX_KEYS:
                self._windows.popitem(last=False)
        if window.written >= BURST:
            window.left_out += 1
            REPEATED.add()
            return False
        window.written += 1
        if left_out:
            record.msg = f"{_without_data(record).getMessage()} ({left_out} lines like this one were left out before)"
            record.args = ()
        return True


def _without_data(record: logging.LogRecord) -> logging.LogRecord:
    """The record, with errors among its arguments in words that have no data of theirs."""
    if isinstance(record.args, tuple) and any(isinstance(each, BaseException) for each in record.args):
        record.args = tuple(reason(each) if isinstance(each, BaseException) else each for each in record.args)
    return record


def _chain(error: BaseException | None) -> Iterator[str]:
    """The places and words of the error, and of what caused it, the first cause last."""
    for number in range(MAX_CHAIN):
        if error is None:
            return
        yield f"{'caused by ' if number else ''}{reason(error)}"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("tidemark").critical("the process failed", exc_info=(kind, error, trace))
