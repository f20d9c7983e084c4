"""A deployable whose clock is wrong: ``python -m tests.faults.wrong_clock <seconds> <module> <arguments>``.

Every source of the time of day in this process is off by so many seconds: ``datetime`` and ``time.time``, for Tidemark's code and for
every library, from the first import on. Durations (``time.monotonic``, the event loop) are unaffected, as on a machine whose
clock was set wrong.
"""

import datetime
import runpy
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import asyncpg  # noqa: F401 - compiled against the real class: it has to come first
from pydantic_core import core_schema

_REAL: Final = datetime.datetime
_REAL_TIME: Final = time.time


class _AnyDatetime(type):
    """The shifted class makes real datetimes: to ``isinstance`` the two are one."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _REAL)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _REAL)


def shift(seconds: float) -> None:
    """From now on the clocks of this process are wrong."""
    offset = datetime.timedelta(seconds=seconds)

    class Shifted(datetime.datetime, metaclass=_AnyDatetime):
        def __new__(cls, *arguments: Any, **more: Any) -> Any:
            return _REAL(*arguments, **more)

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return _REAL.now(tz) + offset

        @classmethod
        def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
            return core_schema.datetime_schema()

    for name in ("fromisoformat", "fromtimestamp", "strptime", "combine"):
        setattr(Shifted, name, getattr(_REAL, name))
    datetime.datetime = Shifted  # type: ignore[misc]
    time.time = lambda: _REAL_TIME() + seconds
    _import_with_the_real_class("shared.contracts.registry")
    _import_with_the_real_class("projectors.runtime.fast_decoding", after=("projectors.stores.port",))


def _import_with_the_real_class(module: str, *, after: Sequence[str] = ()) -> None:
    """For what msgspec decodes, which knows no other. What is imported must not ask for the time; ``after``: but for these, which may."""
    for other in after:
        import_module(other)
    shifted, datetime.datetime = datetime.datetime, _REAL  # type: ignore[misc]
    import_module(module)
    datetime.datetime = shifted  # type: ignore[misc]


if __name__ == "__main__":
    shift(float(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
