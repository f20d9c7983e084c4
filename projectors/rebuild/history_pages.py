"""Pages of history as they come out of the queue, and what is to be done about each message: pure.

    begin(after, last) ──▶ its events … ──▶ end(events)      all three bear the id of the request that they answer

Which page is the one at hand, the registry's cursor decides, or the end of the page before, which the cursor is to follow: one that
begins elsewhere is a page that was asked for twice, and passes by. A page counts only when as many events of it have come as its end
says, so that nothing that was lost on the way is passed over. Until then nothing is written down, and the page is asked for again.
"""

from dataclasses import dataclass

from projectors.generations.registry import Scanned
from shared.messages.lanes import HistoryPage

Place = tuple[str, int]


@dataclass(slots=True)
class Page:
    begin: HistoryPage
    came: int = 0

    @property
    def after(self) -> Place:
        return self.begin.after_stream, self.begin.after_version

    @property
    def last(self) -> Place:
        return self.begin.last_stream, self.begin.last_version


@dataclass(slots=True)
class HistoryPages:
    """Of one generation, in this process."""

    current: Page | None = None
    asked_after: Place | None = None
    """Where the page after the current one begins, once it has been asked for."""
    reached: Place | None = None
    """Where the last page that came whole ends; the cursor is there as soon as all of it is applied. None: where the cursor is."""

    def begin(self, page: HistoryPage, cursor: Place) -> Place | None:
        """Where a page is to be asked for now, so that it is read while this one is applied; None: nowhere."""
        begun = Page(page)
        if begun.after != (self.reached or cursor):
            return None
        self.current = begun
        if page.done or self.asked_after == begun.last:
            return None
        self.asked_after = begun.last
        return begun.last

    def takes(self, asked: str, events: int) -> bool:
        """Whether these events, that answer the request ``asked``, are of the page at hand; they are counted then."""
        if self.current is None or self.current.begin.asked != asked:
            return False
        self.current.came += events
        return True

    def end(self, page: HistoryPage) -> Scanned | None:
        """What will have been applied with this page; None: it passes by, or something of it is missing."""
        ended = self.current
        if ended is None or ended.begin.asked != page.asked:
            return None
        self.current = None
        if ended.came != page.events:
            self.asked_after = None
            return None
        self.reached = ended.last
        return Scanned(ended.after, ended.last, page.events, page.total, ended.begin.time, page.done)

    def forget(self) -> None:
        """It is asked for again from the cursor: what comes of an older request may come twice, and does no harm."""
        self.asked_after = self.reached = None
