"""Makes every hold storable: its error messages may contain the very text that the store rejected."""

from dataclasses import replace

from projectors.stores.port import Hold


def storable(hold: Hold) -> Hold:
    """The same hold, with what PostgreSQL or UTF-8 cannot carry (NUL, lone surrogates) replaced in its texts."""
    return replace(
        hold,
        reason=_clean(hold.reason),
        exception=_clean(hold.exception),
        fingerprint=_clean(hold.fingerprint),
    )


def _clean(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
