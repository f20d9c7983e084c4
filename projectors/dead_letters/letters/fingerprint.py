"""Fingerprints for letters that have none: failures with the same cause have the same fingerprint. Pure.

The form is that of projectors: ``exception type | innermost frame of Tidemark's code | message without its values``. Only text is
available here, so the frame is parsed from the stack trace.
"""

import re
from hashlib import sha256
from pathlib import PurePath
from typing import Final

MAX_LENGTH: Final = 500

_OWN_PACKAGES: Final = frozenset({"projectors", "shared", "command_service", "query_service"})
_FRAME: Final = re.compile(r'File "([^"\n]{1,1000})", line \d+, in ([^\s]{1,200})')
_VARYING: Final = re.compile(r"0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\"")
_TYPE: Final = re.compile(r"[A-Za-z_][\w.]{0,200}")


def fingerprint(reason: str, exception: str, trace: str) -> str:
    """``exception``: ``Type: message``, or a message only, or empty; without a type, the reason is used in its place."""
    name, _, message = exception.partition(": ")
    if not _TYPE.fullmatch(name):
        name, message = reason, exception
    return bounded(f"{name}|{_innermost_frame(trace)}|{_VARYING.sub('?', message)[:200]}")


def bounded(text: str) -> str:
    """The text itself if it is at most MAX_LENGTH long, which can be indexed; otherwise its beginning and a hash of the whole."""
    if len(text) <= MAX_LENGTH:
        return text
    return f"{text[: MAX_LENGTH - 17]}#{sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _innermost_frame(trace: str) -> str:
    frames = [
        match for match in _FRAME.findall(trace) if _OWN_PACKAGES & set(PurePath(match[0]).parts) and _is_code(match[0])
    ]
    return f"{PurePath(frames[-1][0]).name}:{frames[-1][1]}" if frames else "-"


def _is_code(filename: str) -> bool:
    return "site-packages" not in filename
