import asyncio

import pytest

from projectors.rebuild import pacing
from projectors.rebuild.pacing import LivePriority

SOON_S = 5.0


async def test_history_waits_while_live_events_are_applied() -> None:
    gate = LivePriority()
    async with asyncio.timeout(SOON_S):
        await gate.wait_for_turn()
        with gate.applying_live():
            waiting = asyncio.create_task(gate.wait_for_turn())
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting


async def test_an_error_among_live_events_leaves_the_way_free() -> None:
    gate = LivePriority()
    with pytest.raises(ValueError, match="no"), gate.applying_live():
        raise ValueError("no")
    async with asyncio.timeout(SOON_S):
        await gate.wait_for_turn()


async def test_history_is_not_kept_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MAX_WAIT_S", 0.01)
    gate = LivePriority()
    async with asyncio.timeout(SOON_S):
        with gate.applying_live():
            await gate.wait_for_turn()


def test_live_events_are_remembered_for_a_while() -> None:
    gate = LivePriority()
    assert not gate.is_live_recent(100.0)
    gate.live_arrived(100.0)
    assert gate.is_live_recent(101.9)
    assert not gate.is_live_recent(102.0)
