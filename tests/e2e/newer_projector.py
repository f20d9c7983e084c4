"""``python -m tests.e2e.newer_projector NAME``: a projector of the next version, which knows an event type more than this one."""

import sys
from typing import Any, Final

from shared.contracts import registry
from shared.contracts.values import EventData

TYPE: Final = "orders.order-gift-wrapped"


class OrderGiftWrapped(EventData, frozen=True, kw_only=True):
    order_id: str


if __name__ == "__main__":
    known: Any = registry
    known.EVENTS[OrderGiftWrapped] = (TYPE, 1)
    known.KINDS_OF[OrderGiftWrapped] = ("orders",)
    known._CURRENT[TYPE] = (1, OrderGiftWrapped)
    from projectors.__main__ import main

    main(sys.argv[1:])
