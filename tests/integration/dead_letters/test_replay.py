"""Replay jobs: a canary first, paced, bounded, stopping by themselves, steered, and the same after any crash."""

import asyncio

from tests.integration.dead_letters.house import House
from tests.proxy import Proxy

ALL = {"everything": True}


async def poisoned(house: House, count: int, *, cured: bool = True) -> None:
    """So many dead events in a running house."""
    await house.play()
    await house.start()
    for number in range(count):
        await house.die(f"orders/o{number}")
        if not cured:
            house.broken.add((f"orders/o{number}", 1))
    await house.statuses(dead=count)


async def test_replay_sends_every_stream_once_and_closes_its_letter(house: House) -> None:
    await poisoned(house, 30)
    answer = await house.ask("replay", selection=ALL, reason="mended")
    assert (answer["type"], answer["count"], len(answer["letters"])) == ("operation.accepted", 30, 20)
    job = await house.job(answer["job_id"], "completed")
    assert (job["succeeded"], job["failed"]) == (30, 0)
    assert set(house.resent.values()) == {1}
    await house.statuses(resolved=30)
    acts = await house.db.fetch("SELECT act, actor, job_id FROM audit ORDER BY id")
    assert [tuple(row) for row in acts] == [
        ("replay", "ann", 1),
        ("replay-completed", "tidemark", 1),
    ]


async def test_a_dry_run_shows_the_selection_and_writes_nothing(house: House) -> None:
    await poisoned(house, 3)
    answer = await house.ask("replay", selection={"stream": "orders/o1"}, dry_run=True)
    assert (answer["count"], answer["letters"][0]["stream"], answer.get("job_id")) == (1, "orders/o1", None)
    assert await house.db.fetchval("SELECT count(*) FROM jobs") == 0
    assert await house.db.fetchval("SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM requests)") == 0


async def test_a_failed_canary_stops_the_job_and_the_rest_stays_held(house: House) -> None:
    await poisoned(house, 20, cured=False)
    answer = await house.ask("replay", selection=ALL, canary=3)
    job = await house.job(answer["job_id"], "stopped")
    assert "of the first 3" in job["why"]
    assert sum(house.resent.values()) == 3
    await house.statuses(dead=20)
    house.broken.clear()
    await house.ask("steer", job_id=1, to="running", reason="mended now")
    await house.job(1, "completed")
    assert await house.db.fetchval("SELECT count(*) FROM letters WHERE status = 'dead'") == 3


async def test_a_canary_that_succeeds_is_followed_by_the_rest(house: House) -> None:
    await poisoned(house, 20)
    answer = await house.ask("replay", selection=ALL, canary=4)
    await house.job(answer["job_id"], "completed")
    assert house.resends[0][1] == 4
    assert sum(count for _, count in house.resends) == 20


async def test_a_cause_that_is_not_cured_stops_the_job_after_a_few(house: House) -> None:
    await poisoned(house, 60, cured=False)
    answer = await house.ask("replay", selection=ALL, stop_after=5)
    job = await house.job(answer["job_id"], "stopped")
    assert "fingerprint they had before" in job["why"]
    await house.statuses(dead=60)
    assert sum(house.resent.values()) == 5
    assert await house.db.fetchval("SELECT max(attempts) FROM letters") == 5


async def test_a_rate_is_kept_evenly(house: House) -> None:
    await poisoned(house, 60)
    answer = await house.ask("replay", selection=ALL, rate=40)
    await house.job(answer["job_id"], "completed")
    times = [at for at, count in house.resends for _ in range(count)]
    assert 1.1 <= times[-1] - times[0] <= 4
    assert max(count for _, count in house.resends) <= 8


async def test_pause_resume_and_cancel(house: House) -> None:
    await poisoned(house, 60)
    answer = await house.ask("replay", selection=ALL, rate=20)
    await asyncio.sleep(0.5)
    assert (await house.ask("steer", job_id=1, to="paused"))["state"] == "paused"
    await asyncio.sleep(0.3)
    sent = sum(house.resent.values())
    assert 0 < sent < 60
    await asyncio.sleep(0.5)
    assert sum(house.resent.values()) == sent
    assert (await house.ask("steer", job_id=1, to="paused"))["code"] == "invalid-transition"
    await house.ask("steer", job_id=1, to="running")
    await asyncio.sleep(0.5)
    assert sum(house.resent.values()) > sent
    assert (await house.ask("steer", job_id=1, to="cancelled", reason="enough"))["state"] == "cancelled"
    await house.statuses(replaying=0)
    job = await house.job(answer["job_id"], "cancelled")
    assert job["succeeded"] + job["skipped"] == 60
    assert (await house.ask("steer", job_id=1, to="running"))["code"] == "invalid-transition"
    acts = [row["act"] for row in await house.db.fetch("SELECT act FROM audit ORDER BY id")]
    assert acts == ["replay", "pause", "resume", "cancel"]


async def test_two_jobs_over_the_same_letters_have_the_effect_of_one(house: House) -> None:
    await poisoned(house, 40)
    first, second = await asyncio.gather(
        house.ask("replay", selection=ALL, rate=100), house.ask("replay", selection=ALL, rate=100)
    )
    jobs = [await house.job(answer["job_id"], "completed") for answer in (first, second)]
    assert [job["succeeded"] for job in jobs] == [40, 40]
    assert set(house.resent.values()) == {1}


async def test_a_request_that_comes_twice_is_one_job_with_one_answer(house: House) -> None:
    await poisoned(house, 5)
    answers = [await house.ask("replay", selection=ALL, request_id="r-1") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert await house.db.fetchval("SELECT count(*) FROM jobs") == 1
    other = await house.ask("replay", selection=ALL, request_id="r-1", canary=1)
    assert other["code"] == "request-id-reused"


async def test_workers_killed_at_any_time_replay_everything_once_in_effect(house: House) -> None:
    await poisoned(house, 400)
    await house.ask("replay", selection=ALL, concurrency=20)
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4):
        await asyncio.sleep(delay)
        await house.workers.pop().kill()
        await house.start()
    job = await house.job(1, "completed", 60)
    assert (job["succeeded"], job["failed"], job["under_way"]) == (400, 0, 0)
    await house.statuses(400, resolved=400)
    assert not house.held


async def test_a_job_goes_on_after_the_database_was_away(house: House) -> None:
    await house.play()
    async with Proxy(house.settings.operations_db_url).running() as proxy:
        worker = await house.start(url=proxy.url)
        for number in range(100):
            await house.die(f"orders/o{number}")
        await house.statuses(dead=100)
        await house.ask("replay", selection=ALL, concurrency=10, rate=100)
        await asyncio.sleep(0.3)
        for _ in range(3):
            proxy.cut()
            await asyncio.sleep(0.1)
        job = await house.job(1, "completed")
        assert (job["succeeded"], job["failed"]) == (100, 0)
        assert not any(task.done() for task in worker.tasks)
        await worker.kill()


async def test_a_letter_closes_by_itself_although_the_news_of_it_was_lost(house: House) -> None:
    await poisoned(house, 3)
    house.held.clear()
    await house.statuses(resolved=3)


async def test_letters_nobody_answers_for_are_dead_again(house: House) -> None:
    await poisoned(house, 2)
    house.mute = True
    answer = await house.ask("replay", selection=ALL)
    job = await house.job(answer["job_id"], "completed")
    assert (job["failed"], job["same"]) == (2, 0)
    assert await house.db.fetchval("SELECT count(*) FROM job_items WHERE outcome = 'no-answer'") == 2
    assert min(house.resent.values()) >= 2
    await house.statuses(dead=2)


async def test_commands_go_out_as_they_came_and_their_letters_are_closed(house: House) -> None:
    await house.play()
    await house.start()
    await house.command_dies("k1", correlation_id="c-9")
    await house.command_dies("k2")
    await house.statuses(dead=2)
    answer = await house.ask("replay", selection={"origin": "commands"})
    await house.job(answer["job_id"], "completed")
    await house.statuses(resolved=2)
    first = next(delivery for delivery in house.commands if delivery.correlation_id == "c-9")
    assert (first.routing_key, first.reply_to) == ("customers.rename-customer", "reply.shop")
    assert b'"k1"' in first.body


async def test_a_command_that_fails_again_is_the_same_letter_and_its_item_has_failed(house: House) -> None:
    await house.play()
    await house.start()
    for number in range(6):
        await house.command_dies(f"k{number}")
    await house.statuses(dead=6)
    house.refuse_commands = True
    answer = await house.ask("replay", selection={"origin": "commands"}, canary=2)
    await house.job(answer["job_id"], "stopped")
    await house.statuses(6, dead=6)  # the first that came back has stopped the job; the second may come a moment later
    job = await house.job(answer["job_id"], "stopped")
    assert (job["failed"], job["succeeded"], len(house.commands)) == (2, 0, 2)
    assert sorted(row["attempts"] for row in await house.db.fetch("SELECT attempts FROM letters")) == [1, 1, 1, 1, 2, 2]
