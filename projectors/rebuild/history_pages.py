"""Tracks pages of history as they arrive from the queue and decides how to handle each message. Pure.

    begin(after, last) ──▶ its events … ──▶ end(events)      all three carry the id of the request that they answer

The current page starts at the registry's cursor, or at the end of the previous page, to which the cursor will move. A page that starts
elsewhere was requested twice and is ignored. A page is complete only if as many events have arrived as its end message states, so lost
events are never skipped. The cursor does not move before, and an incomplete page is requested again.
"""

from dataclasses import dataclass

from projectors.generations.registry import AppliedPage
from shared.messages.lanes import HistoryPage

Cursor = tuple[str, int]


@dataclass(slots=True)
class Page:
    begin: HistoryPage
    received: int = 0

    @property
    def after(self) -> Cursor:
        return self.begin.after_stream, self.begin.after_version

    @property
    def last(self) -> Cursor:
        return self.begin.last_stream, self.begin.last_version


@dataclass(slots=True)
class HistoryPages:
    """The pages of one generation, as received by this process."""

    current: Page | None = None
    requested_after: Cursor | None = None
    """The start of the page after the current one, once it has been requested."""
    completed_to: Cursor | None = None
    """The end of the last complete page, to which the cursor moves once all of it is applied. None: the cursor itself."""

    def begin(self, page: HistoryPage, cursor: Cursor) -> Cursor | None:
        """Start this page. Returns the start of the next page to request now, so that it is read meanwhile; None: request nothing."""
        started = Page(page)
        if started.after != (self.completed_to or cursor):
            return None
        self.current = started
        if page.done or self.requested_after == started.last:
            return None
        self.requested_after = started.last
        return started.last

    def accepts(self, asked: str, events: int) -> bool:
        """Whether these events, which answer the request ``asked``, belong to the current page; if so, they are counted."""
        if self.current is None or self.current.begin.asked != asked:
            return False
        self.current.received += events
        return True

    def end(self, page: HistoryPage) -> AppliedPage | None:
        """End this page. Returns what is applied with it; None if it is not the current page, or incomplete."""
        ended = self.current
        if ended is None or ended.begin.asked != page.asked:
            return None
        self.current = None
        if ended.received != page.events:
            self.requested_after = None
            return None
        self.completed_to = ended.last
        return AppliedPage(ended.after, ended.last, page.events, page.total, ended.begin.time, page.done)

    def reset(self) -> None:
        """History is requested again from the cursor. Answers to older requests may arrive twice, which is harmless."""
        self.requested_after = self.completed_to = None
