"""``python -m tests.benchmarks.altered WHAT MODULE ARGUMENT…``: a deployable with one thing taken out or put in, to find out what it costs.

``unrecorded``  no metric is counted, observed or set
``three``       a customer's region is personal, too: so a registration has three texts to seal
``clear``       nothing is personal: what ``three`` seals and opens stays in clear, and no key is looked up
"""

import runpy
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final, get_type_hints

from shared.contracts import registry
from shared.observability import families, sampling
from shared.privacy import marks

NAMES: Final = {"name", "email"}
REGION: Final = "region"


def unrecorded() -> None:
    from command_service.measuring import commands
    from projectors.runtime import measuring

    recording: tuple[tuple[Any, tuple[str, ...]], ...] = (
        (commands, ("count",)),
        (measuring, ("count_commit", "show_lanes")),
        (sampling, ("sample",)),
        (sampling.HealthGauges, ("set",)),
        (families.Counter, ("add",)),
        (families.Gauge, ("set", "replace")),
        (families.Histogram, ("observe", "observe_all")),
    )
    for owner, names in recording:
        for name in names:
            setattr(owner, name, _nothing)


def three() -> None:
    known: dict[type[Any], tuple[str, ...]] = {}

    def get(cls: type[Any]) -> tuple[str, ...]:
        if cls not in known:
            hints = get_type_hints(cls, include_extras=True)
            names = tuple(name for name, kind in hints.items() if marks.PERSONAL in getattr(kind, "__metadata__", ()))
            known[cls] = (*names, REGION) if set(names) >= NAMES and REGION in hints else names
        return known[cls]

    _replace_marks(get)


def clear() -> None:
    _replace_marks(lambda _: ())


def _replace_marks(get: Callable[[type[Any]], tuple[str, ...]]) -> None:
    """``personal_fields`` answers with ``get`` from now on, whichever module has imported it."""
    personal = {cls: names for cls in registry.EVENTS if (names := get(cls))}
    vars(marks)["_FIELDS"] = SimpleNamespace(get=get)
    events: Any = registry.PERSONAL_EVENTS
    events.clear()
    events.update(personal)


def _nothing(*_: Any, **__: Any) -> None:
    return None


ALTERATIONS: Final[Mapping[str, Callable[[], None]]] = {"unrecorded": unrecorded, "three": three, "clear": clear}


if __name__ == "__main__":
    what, module, *arguments = sys.argv[1:]
    ALTERATIONS[what]()
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
