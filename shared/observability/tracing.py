"""Traces: whether this process records any is decided once, at its start; while it does not, no span is made.

    begin ──TIDEMARK_TRACES=on──▶ ``recorder`` ──spans──▶ the SDK's queue, 2,048 at most ──its own thread──▶ OTLP over HTTP
      └────off (default)────────▶ None

- A trace is one command's. Whether it is recorded is decided where it begins (``TIDEMARK_TRACES_RATIO``), and travels in ``traceparent``:
  so every process asks ``is_sampled`` before it makes anything, and a message that is not sampled costs this look at a flag.
- Nothing waits for the exporter: spans beyond the queue are dropped, oldest first, and counted in the log.
- Spans are made after the fact, with their times, and never become the context of a task.
"""

import importlib
import threading
from typing import TYPE_CHECKING, Final

from shared.messages.trace_context import trace_parent
from shared.runtime.setting_values import SettingError

if TYPE_CHECKING:
    from shared.observability.spans import Recorder

FLUSH_S: Final = 3.0
"""The longest that a process which stops waits until its last spans are sent."""
_SAMPLED: Final = frozenset("13579bdf")
"""The last digit of a ``traceparent`` whose bit ``sampled`` is set."""

recorder: "Recorder | None" = None
"""Records the spans of this process; None: it records none."""


class ExtraMissingError(SettingError):
    """Tracing is on, and its packages are not installed."""


def begin(process: str, *, on: bool, ratio: float) -> None:
    """Record the traces of this process from now on, if that is wanted. Raises ExtraMissingError."""
    global recorder
    if not on:
        return
    try:
        exporting = importlib.import_module("shared.observability.exporting")
    except ImportError as error:
        raise ExtraMissingError(
            f"TIDEMARK_TRACES=on needs packages that are not installed ({error.name}): pip install 'tidemark[telemetry]'"
        ) from error
    recorder = exporting.recorder_of(process, ratio)


def end() -> None:
    """Send what is queued, for FLUSH_S at most, and record no more."""
    global recorder
    ended, recorder = recorder, None
    if ended is not None:
        flushing = threading.Thread(target=ended.close, name="traces", daemon=True)
        flushing.start()
        flushing.join(FLUSH_S)


def is_sampled(traceparent: str | None) -> bool:
    """Whether the trace is recorded. ``traceparent``: as ``trace_parent`` returns it."""
    return traceparent is not None and traceparent[-1:] in _SAMPLED


def trace_id(traceparent: str | None) -> str | None:
    """For logs; of traces that are not recorded, too."""
    valid = trace_parent(traceparent)
    return None if valid is None else valid[3:35]


def log_field(traceparent: str | None) -> dict[str, str]:
    """The field ``trace_id`` of a log line, if there is one."""
    found = trace_id(traceparent)
    return {} if found is None else {"trace_id": found}
