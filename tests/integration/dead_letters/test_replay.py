"""Replay jobs: a canary first, paced, bounded, stopping by themselves, steered, and the same after any crash."""

import asyncio
from itertools import accumulate

from tests.integration.dead_letters.harness import Harness
from tests.proxy import Proxy

ALL = {"everything": True}


async def poisoned(harness: Harness, count: int, *, cured: bool = True) -> None:
    """So many dead events in a running harness."""
    await harness.play()
    await harness.start()
    for number in range(count):
        await harness.die(f"orders/o{number}")
        if not cured:
            harness.broken.add((f"orders/o{number}", 1))
    await harness.statuses(dead=count)


async def test_replay_sends_every_stream_once_and_closes_its_letter(harness: Harness) -> None:
    await poisoned(harness, 30)
    answer = await harness.ask("replay", selection=ALL, reason="mended")
    assert (answer["type"], answer["count"], len(answer["letters"])) == ("operation.accepted", 30, 20)
    job = await harness.job(answer["job_id"], "completed")
    assert (job["succeeded"], job["failed"]) == (30, 0)
    assert set(harness.resent.values()) == {1}
    await harness.statuses(resolved=30)
    acts = await harness.db.fetch("SELECT act, actor, job_id FROM audit ORDER BY id")
    assert [tuple(row) for row in acts] == [
        ("replay", "ann", 1),
        ("replay-completed", "tidemark", 1),
    ]


async def test_a_dry_run_shows_the_selection_and_writes_nothing(harness: Harness) -> None:
    await poisoned(harness, 3)
    answer = await harness.ask("replay", selection={"stream": "orders/o1"}, dry_run=True)
    assert (answer["count"], answer["letters"][0]["stream"], answer.get("job_id")) == (1, "orders/o1", None)
    assert await harness.db.fetchval("SELECT count(*) FROM jobs") == 0
    assert await harness.db.fetchval("SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM requests)") == 0


async def test_a_failed_canary_stops_the_job_and_the_rest_stays_held(harness: Harness) -> None:
    await poisoned(harness, 20, cured=False)
    answer = await harness.ask("replay", selection=ALL, canary=3)
    job = await harness.job(answer["job_id"], "stopped")
    assert "of the first 3" in job["why"]
    assert sum(harness.resent.values()) == 3
    await harness.statuses(dead=20)
    harness.broken.clear()
    await harness.ask("steer", job_id=1, to="running", reason="mended now")
    await harness.job(1, "completed")
    assert await harness.db.fetchval("SELECT count(*) FROM letters WHERE status = 'dead'") == 3


async def test_a_canary_that_succeeds_is_followed_by_the_rest(harness: Harness) -> None:
    await poisoned(harness, 20)
    answer = await harness.ask("replay", selection=ALL, canary=4)
    await harness.job(answer["job_id"], "completed")
    assert harness.resends[0][1] == 4
    assert sum(count for _, count in harness.resends) == 20


async def test_a_ramp_goes_up_step_by_step_after_the_canary(harness: Harness) -> None:
    await poisoned(harness, 40)
    answer = await harness.ask("replay", selection=ALL, canary=3, ramp=[25, 50])
    job = await harness.job(answer["job_id"], "completed")
    sent = set(accumulate(count for _, count in harness.resends))
    assert {3, 10, 20, 40} <= sent, "each step waits for the outcomes of the one before"
    assert (job["steps_over"], job["up_to"], job["succeeded"]) == (2, 40, 40)
    assert set(harness.resent.values()) == {1}


async def test_a_step_that_fails_stops_the_ramp_until_an_operator_goes_on(harness: Harness) -> None:
    await poisoned(harness, 40)
    harness.broken |= {(f"orders/o{number}", 1) for number in range(4, 10)}
    answer = await harness.ask("replay", selection=ALL, ramp=[10, 25, 50], stop_after=20)
    job = await harness.job(answer["job_id"], "stopped")
    assert (job["steps_over"], job["succeeded"], job["failed"]) == (1, 4, 6), (
        "less than stop_after, and all of the step"
    )
    assert job["why"] == "6 of the 6 letters of this step failed again"
    assert sum(harness.resent.values()) == 10
    await harness.ask("steer", job_id=1, to="running", reason="these six are known")
    job = await harness.job(1, "completed")
    assert (job["succeeded"], job["failed"]) == (34, 6)


async def test_a_ramp_leaves_out_what_was_closed_meanwhile(harness: Harness) -> None:
    await poisoned(harness, 8)
    harness.mute = True
    answer = await harness.ask("replay", selection=ALL, ramp=[25], stop_after=None)
    await harness.until(lambda: _sent(harness, 2))
    await harness.ask("discard", selection={"everything": True}, reason="all of them were tests")
    harness.mute = False
    job = await harness.job(answer["job_id"], "completed")
    assert job["succeeded"] + job["skipped"] == 8


async def _sent(harness: Harness, count: int) -> bool:
    return len(harness.resent) == count


async def test_a_cause_that_is_not_cured_stops_the_job_after_a_few(harness: Harness) -> None:
    await poisoned(harness, 60, cured=False)
    answer = await harness.ask("replay", selection=ALL, stop_after=5)
    job = await harness.job(answer["job_id"], "stopped")
    assert "fingerprint they had before" in job["why"]
    await harness.statuses(dead=60)
    assert sum(harness.resent.values()) == 5
    assert await harness.db.fetchval("SELECT max(attempts) FROM letters") == 5


async def test_a_rate_is_kept_evenly(harness: Harness) -> None:
    await poisoned(harness, 60)
    answer = await harness.ask("replay", selection=ALL, rate=40)
    await harness.job(answer["job_id"], "completed")
    times = [at for at, count in harness.resends for _ in range(count)]
    assert 1.1 <= times[-1] - times[0] <= 4
    assert max(count for _, count in harness.resends) <= 8


async def test_pause_resume_and_cancel(harness: Harness) -> None:
    await poisoned(harness, 60)
    answer = await harness.ask("replay", selection=ALL, rate=20)
    await asyncio.sleep(0.5)
    assert (await harness.ask("steer", job_id=1, to="paused"))["state"] == "paused"
    await asyncio.sleep(0.3)
    sent = sum(harness.resent.values())
    assert 0 < sent < 60
    await asyncio.sleep(0.5)
    assert sum(harness.resent.values()) == sent
    assert (await harness.ask("steer", job_id=1, to="paused"))["code"] == "invalid-transition"
    await harness.ask("steer", job_id=1, to="running")
    await asyncio.sleep(0.5)
    assert sum(harness.resent.values()) > sent
    assert (await harness.ask("steer", job_id=1, to="cancelled", reason="enough"))["state"] == "cancelled"
    await harness.statuses(replaying=0)
    job = await harness.job(answer["job_id"], "cancelled")
    assert job["succeeded"] + job["skipped"] == 60
    assert (await harness.ask("steer", job_id=1, to="running"))["code"] == "invalid-transition"
    acts = [row["act"] for row in await harness.db.fetch("SELECT act FROM audit ORDER BY id")]
    assert acts == ["replay", "pause", "resume", "cancel"]


async def test_two_jobs_over_the_same_letters_have_the_effect_of_one(harness: Harness) -> None:
    await poisoned(harness, 40)
    first, second = await asyncio.gather(
        harness.ask("replay", selection=ALL, rate=100), harness.ask("replay", selection=ALL, rate=100)
    )
    jobs = [await harness.job(answer["job_id"], "completed") for answer in (first, second)]
    assert [job["succeeded"] for job in jobs] == [40, 40]
    assert set(harness.resent.values()) == {1}


async def test_a_request_that_comes_twice_is_one_job_with_one_answer(harness: Harness) -> None:
    await poisoned(harness, 5)
    answers = [await harness.ask("replay", selection=ALL, request_id="r-1") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert await harness.db.fetchval("SELECT count(*) FROM jobs") == 1
    other = await harness.ask("replay", selection=ALL, request_id="r-1", canary=1)
    assert other["code"] == "request-id-reused"


async def test_workers_killed_at_any_time_replay_everything_once_in_effect(harness: Harness) -> None:
    await poisoned(harness, 400)
    await harness.ask("replay", selection=ALL, concurrency=20, canary=10, ramp=[10, 50])
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4):
        await asyncio.sleep(delay)
        await harness.workers.pop().kill()
        await harness.start()
    job = await harness.job(1, "completed", 60)
    assert (job["succeeded"], job["failed"], job["under_way"]) == (400, 0, 0)
    await harness.statuses(400, resolved=400)
    assert not harness.held


async def test_a_job_goes_on_after_the_database_was_away(harness: Harness) -> None:
    await harness.play()
    async with Proxy(harness.settings.operations_db_url).running() as proxy:
        worker = await harness.start(url=proxy.url)
        for number in range(100):
            await harness.die(f"orders/o{number}")
        await harness.statuses(dead=100)
        await harness.ask("replay", selection=ALL, concurrency=10, rate=100)
        await asyncio.sleep(0.3)
        for _ in range(3):
            proxy.cut()
            await asyncio.sleep(0.1)
        job = await harness.job(1, "completed")
        assert (job["succeeded"], job["failed"]) == (100, 0)
        assert not any(task.done() for task in worker.tasks)
        await worker.kill()


async def test_a_letter_closes_by_itself_although_the_news_of_it_was_lost(harness: Harness) -> None:
    await poisoned(harness, 3)
    harness.held.clear()
    await harness.statuses(resolved=3)


async def test_letters_nobody_answers_for_are_dead_again(harness: Harness) -> None:
    await poisoned(harness, 2)
    harness.mute = True
    answer = await harness.ask("replay", selection=ALL)
    job = await harness.job(answer["job_id"], "completed")
    assert (job["failed"], job["same"]) == (2, 0)
    assert await harness.db.fetchval("SELECT count(*) FROM job_items WHERE outcome = 'no-answer'") == 2
    assert min(harness.resent.values()) >= 2
    await harness.statuses(dead=2)


async def test_commands_go_out_as_they_came_and_their_letters_are_closed(harness: Harness) -> None:
    await harness.play()
    await harness.start()
    await harness.command_dies("k1", correlation_id="c-9")
    await harness.command_dies("k2")
    await harness.statuses(dead=2)
    answer = await harness.ask("replay", selection={"origin": "commands"})
    await harness.job(answer["job_id"], "completed")
    await harness.statuses(resolved=2)
    first = next(delivery for delivery in harness.commands if delivery.correlation_id == "c-9")
    assert (first.routing_key, first.reply_to) == ("customers.rename-customer", "reply.shop")
    assert b'"k1"' in first.body


async def test_a_command_that_fails_again_is_the_same_letter_and_its_item_has_failed(harness: Harness) -> None:
    await harness.play()
    await harness.start()
    for number in range(6):
        await harness.command_dies(f"k{number}")
    await harness.statuses(dead=6)
    harness.refuse_commands = True
    answer = await harness.ask("replay", selection={"origin": "commands"}, canary=2)
    await harness.job(answer["job_id"], "stopped")
    await harness.statuses(
        6, dead=6
    )  # the first that came back has stopped the job; the second may come a moment later
    job = await harness.job(answer["job_id"], "stopped")
    assert (job["failed"], job["succeeded"], len(harness.commands)) == (2, 0, 2)
    assert sorted(row["attempts"] for row in await harness.db.fetch("SELECT attempts FROM letters")) == [
        1,
        1,
        1,
        1,
        2,
        2,
    ]
