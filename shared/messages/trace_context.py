"""W3C Trace Context: the trace that a message belongs to. Informative: never a reason to refuse anything.

Source: https://www.w3.org/TR/trace-context/#traceparent-header (version 00), and §3.2.4 there for future versions.
"""

import re
from typing import Any, Final

_TRACE_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED: Final = 0x01


def trace_parent(value: Any) -> str | None:
    """The value as version 00 writes it; None if no version allows it.

    Of a higher version the four known fields are read, and passed on as version 00, with the only flag that version 00 defines.
    """
    found = _TRACE_PARENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == "ff" or not trace.strip("0") or not parent.strip("0"):
        return None
    if version == "00":
        return None if more else found[0]
    return f"00-{trace}-{parent}-{int(flags, 16) & _SAMPLED:02x}"
