"""``tidemark dead-letters``: what it shows, what it does, and that no letter can do anything to the terminal it is shown on."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import operator_options
from shared.messaging import topology
from tests.integration.dead_letters.harness import Harness
from tests.integration.program import Program

EVIL = "[red]x[/red] [link=http://e]y[/link] \x1b[2J\x1b]0;title\x07 \u202egnp.exe \r\n[bold"

dead_letters = Program("dead-letters")
said, json_of, refused = dead_letters.said, dead_letters.json_of, dead_letters.refused


async def test_groups_list_and_show_tell_the_same_story(harness: Harness) -> None:
    for number in range(4):
        await harness.die(f"orders/o{number}", message="boom" if number else "bang")
    await harness.command_dies("c-1")
    await harness.statuses(dead=5)

    groups = (await json_of("groups"))["items"]
    assert [group["count"] for group in groups] == [3, 1, 1]
    table = await said("groups")
    assert "ValueError: boom" in table
    assert "commands" in table
    assert (await json_of("list", "--limit", "2")).keys() == {"items", "total"}
    assert (await json_of("list", "--limit", "2"))["total"] == 5
    for filters, count in (
        (["--projector", "summary"], 4),
        (["--origin", "commands"], 1),
        (["--group", groups[0]["fingerprint"]], 3),
        (["--like", str(groups[0]["example"])], 3),
        (["--stream", "orders/o0"], 1),
        (["--type", "orders.order-placed"], 4),
        (["--text", "BOOM"], 3),
        (["--from", "1h"], 5),
        (["--to", "2020-01-01"], 0),
        (["--from", "2020-01-01T00:00:00Z", "--to", "2199-01-01"], 5),
        (["--status", "resolved"], 0),
        (["--all"], 5),
    ):
        assert len((await json_of("list", *filters))["items"]) == count, filters
    letter = await json_of("show", str(groups[0]["example"]))
    assert letter["headers"]["tidemark-reason"] == "projection-failed"
    assert json.loads(letter["body"])["subject"] == letter["stream"]
    shown = await said("show", str(groups[0]["example"]))
    assert "Traceback" in shown
    assert letter["stream"] in shown


async def test_what_a_letter_says_is_shown_and_never_obeyed(harness: Harness) -> None:
    headers: dict[str, Any] = {"tidemark-trace": EVIL}
    await harness.die("orders/[bold]o\x1b[31m", message=EVIL, **headers)
    await harness.command_dies("c-1", {"name": EVIL})
    await harness.statuses(dead=2)
    (example,) = [one["id"] for one in (await json_of("list", "--origin", "summary"))["items"]]
    (command,) = [one["id"] for one in (await json_of("list", "--origin", "commands"))["items"]]
    for arguments in (
        ["groups"],
        ["list"],
        ["show", str(example)],
        ["show", str(command)],
        ["replay", str(example), "--dry-run", "--actor", EVIL.replace("\r\n", "")],
        ["discard", str(example), "--dry-run"],
    ):
        output = await said(*arguments)
        assert not set(output) & {"\x1b", "\x07", "\r", "\u202e"}, arguments
        assert "[red]x[/red]" in output or arguments == ["show", str(command)], output


async def test_a_replay_that_is_waited_for_says_how_it_ended(harness: Harness) -> None:
    for number in range(6):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=6)
    dry = await json_of("replay", "--all", "--dry-run")
    assert (dry["count"], dry["job_id"], len(dry["letters"])) == (6, None, 6)
    assert "6 letters would be replayed" in await said("replay", "--all", "--dry-run")

    one = await json_of("replay", "1", "2", "--wait", "--reason", "fixed", "--actor", "ann")
    assert (one["state"], one["succeeded"], one["actor"], one["reason"]) == ("completed", 2, "ann", "fixed")

    harness.broken = {(f"orders/o{number}", 1) for number in range(6)}
    stopped = await json_of("replay", "--stream", "orders/o2", "--canary", "1", "--wait", code=1)
    assert (stopped["state"], stopped["failed"]) == ("stopped", 1)
    assert "failed letter" in await said("jobs", str(stopped["id"]))
    harness.broken = set()
    assert "completed: 4 of 4 succeeded" in await said(
        *(
            "replay",
            "--like",
            "3",
            "--rate",
            "1000",
            "--concurrency",
            "2",
            "--ramp",
            "25,50",
            "--stop-after",
            "0",
            "--wait",
        )
    )
    assert [job["id"] for job in (await json_of("jobs"))["items"]] == [3, 2, 1]
    assert (await json_of("jobs", "1"))["state"] == "completed"
    await refused("replay", "--all", code=1, says="nothing-selected")


async def test_a_cause_is_annotated_and_acts_over_http_are_forbidden_and_allowed_again(harness: Harness) -> None:
    await harness.die("orders/o1")
    await harness.statuses(dead=1)
    assert "owner" in await said(
        *("annotate", "1", "--owner", "ann", "--bug", "https://bugs.example.org/1", "--snooze", "2h"),
        *("--reason", "known", "--actor", "ann"),
    )
    row = await harness.db.fetchrow("SELECT *, snoozed_until - updated_at AS left FROM group_notes")
    assert row is not None
    assert (row["owner"], row["bug"], row["updated_by"]) == ("ann", "https://bugs.example.org/1", "ann")
    assert 110 < row["left"].total_seconds() / 60 <= 121
    await refused("annotate", "1", "--snooze", "soon", "--reason", "x", code=2, says="--snooze")
    await refused("annotate", "99", "--reason", "x", code=1, says="no dead letter 99")

    switch = Program("read-only")
    assert "forbidden" in await switch.said("on", "--reason", "moving", "--actor", "ann")
    found = await switch.json_of("show")
    assert (found["on"], found["by"], found["reason"]) == (True, "ann", "moving")
    assert "allowed" in await switch.said("off", "--reason", "done", "--actor", "ann")
    assert not (await switch.json_of("show"))["on"]


async def test_jobs_are_steered_and_the_audit_remembers(harness: Harness) -> None:
    for number in range(20):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=20)
    job = str((await json_of("replay", "--all", "--rate", "1"))["job_id"])
    assert "is paused" in await said("jobs", "pause", job, "--reason", "too slow", "--actor", "ann")
    await harness.job(int(job), "paused")
    assert (await json_of("jobs", "show", job, "--wait", code=1))["state"] == "paused"
    assert (await json_of("jobs", "resume", job))["state"] == "pending"
    assert "is cancelled" in await said("jobs", "cancel", job)
    await refused("jobs", "resume", job, code=1, says="invalid-transition")
    await refused("jobs", "pause", "99", code=1, says="job-not-found")
    await refused("jobs", "99", code=1, says="there is no job 99")
    acts = (await json_of("audit", "--job", job))["items"]
    assert {"replay", "pause", "resume", "cancel"} <= {entry["act"] for entry in acts}
    (pause,) = (await json_of("audit", "--act", "pause", "--actor", "ann"))["items"]
    assert pause["reason"] == "too slow"
    assert "too slow" in await said("audit")


async def test_discard_wants_to_be_meant(harness: Harness) -> None:
    await harness.die("orders/o1")
    await harness.statuses(dead=1)
    await refused("discard", "1", code=2, says="--yes and --reason")
    await refused("discard", "1", "--yes", code=2, says="--yes and --reason")
    await refused("discard", "1", "--reason", "x", code=2, says="--yes and --reason")
    await refused("discard", "--yes", "--reason", "x", code=2, says="say which letters")
    assert "1 letters would be discarded" in await said("discard", "1", "--dry-run")
    assert "1 letters are discarded" in await said("discard", "1", "--yes", "--reason", "a test order")
    await harness.statuses(discarded=1)
    assert harness.stepped_over == [("orders/o1", 1)]


async def test_commands_and_bytes_that_name_no_stream_are_acted_on_as_well(harness: Harness) -> None:
    await harness.command_dies("c-1")
    await harness.command_dies("c-2")
    await harness.letter("summary", b"no event", {"tidemark-reason": "undecodable-event"})
    await harness.statuses(dead=3)
    dry = await json_of("replay", "--all", "--dry-run")
    assert (dry["count"], dry["left_out"], [letter["stream"] for letter in dry["letters"]]) == (2, 1, [None, None])
    assert "command c-1" in await said("replay", "--all", "--dry-run")
    await refused("replay", "--origin", "summary", code=1, says="can only be discarded")
    first, second = [str(item["id"]) for item in (await json_of("list", "--origin", "commands"))["items"]]
    assert "completed: 1 of 1 succeeded" in await said("replay", first, "--wait")
    await said("discard", second, "--yes", "--reason", "sent by mistake")
    await said("discard", "--origin", "summary", "--yes", "--reason", "noise")
    await harness.statuses(resolved=1, discarded=2)


async def test_a_command_is_edited_from_text_file_or_standard_input(harness: Harness, tmp_path: Path) -> None:
    for number in range(3):
        await harness.command_dies(f"c-{number}", {"name": number})
    await harness.statuses(dead=3)
    file = tmp_path / "data.json"
    file.write_text('{"name": "File"}')
    assert "is sent instead of letter 1" in await said("edit", "1", "--data", '{"name": "Ann"}', "--reason", "r")
    done = await json_of("edit", "2", "--data", f"@{file}", "--reason", "r", "--id", "c-new", "--actor", "ann")
    assert done["command_id"] == "c-new"
    await said("edit", "3", "--data", "-", "--reason", "r", "--subject", "c9", given='{"name": "Input"}')

    def edited() -> list[dict[str, Any]]:
        """Without those that they stand for, which are sent again to be refused."""
        new = [one for one in harness.commands if topology.DEAD_COMMAND_HEADER not in one.headers]
        return [json.loads(delivery.body) for delivery in new]

    async def all_sent() -> bool:
        return len(edited()) == 3

    await harness.until(all_sent)
    sent = edited()
    assert {(await harness.opened(one))["name"] for one in sent} == {"Ann", "File", "Input"}
    assert {one["subject"] for one in sent} == {"c1", "c9"}
    assert "c-new" in await said("show", "2")
    await refused("edit", "1", "--data", "{}", "--reason", "r", code=1, says="letter-closed")
    await refused("edit", "9", "--data", "{}", "--reason", "r", code=1, says="letter-not-found")


WRONG = [
    (["list", "--origin", "nowhere"], "there is no 'nowhere'"),
    (["list", "--from", "yesterday"], "--from"),
    (["list", "--from", "2026-02-30"], "--from"),
    (["list", "--text", "x" * 201], "--text"),
    (["list", "--limit", "0"], "--limit"),
    (["list", "--status", "nice"], "--status"),
    (["list", "--all", "--status", "dead"], "--all"),
    (["list", "--stream", "\ud800"], "--stream"),
    (["list", "--like", "0"], "--like"),
    (["show", "0"], "ID"),
    (["show", "x"], "ID"),
    (["show", str(2**63)], "ID"),
    (["audit", "--letter", str(2**63)], "--letter"),
    (["audit", "--actor", "\x00"], "--actor"),
    (["jobs", "0"], "ID"),
    (["jobs", "frobnicate"], "frobnicate"),
    (["replay"], "say which letters"),
    (["replay", "1", "--all"], "--all"),
    (["replay", "--like", "1", "--group", "x"], "--like and --group"),
    (["replay", "1", "--rate", "0"], "--rate"),
    (["replay", "1", "--rate", "nan"], "--rate"),
    (["replay", "1", "--canary", "-1"], "--canary"),
    (["replay", "1", "--ramp", "50,10"], "--ramp"),
    (["replay", "1", "--ramp", "ten"], "--ramp"),
    (["replay", "1", "--concurrency", "0"], "--concurrency"),
    (["replay", "1", "--stop-after", "-1"], "--stop-after"),
    (["replay", "1", "--actor", ""], "--actor"),
    (["replay", "1", "--reason", "x" * 2001], "--reason"),
    (["replay", "1", "--request-id", ""], "--request-id"),
    (["edit", "1"], "--data"),
    (["edit", "1", "--data", "x", "--reason", "r"], "not JSON"),
    (["edit", "1", "--data", "[]", "--reason", "r"], "JSON object"),
    (["edit", "1", "--data", '{"a": NaN}', "--reason", "r"], "not JSON"),
    (["edit", "1", "--data", "[" * 100_000, "--reason", "r"], "nested too deeply"),
    (["edit", "1", "--data", "@nowhere", "--reason", "r"], "nowhere"),
    (["edit", "1", "--data", "{}"], "--reason"),
    (["edit", "1", "--data", "{}", "--reason", "r", "--id", "a b"], "--id"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
async def test_wrong_use_is_said_and_is_exit_code_two(idle: Harness, arguments: list[str], says: str) -> None:
    await refused(*arguments, code=2, says=says)


async def test_servers_that_are_away_are_exit_code_three(idle: Harness) -> None:
    no_database = {"TIDEMARK_OPERATIONS_DB_URL": "postgresql://nobody:x@127.0.0.1:1/none"}
    for arguments in (["groups"], ["list"], ["show", "1"], ["jobs"], ["audit"], ["jobs", "1", "--wait"]):
        await refused(*arguments, code=3, says="PostgreSQL", environ=no_database)
    await refused("replay", "1", code=3, says="RabbitMQ", environ={"TIDEMARK_RABBITMQ_URL": "amqp://x:y@127.0.0.1:1/"})
    await refused("replay", "1", "--timeout", "0.5", code=3, says="--request-id")
    await refused("groups", code=2, says="TIDEMARK_OPERATIONS_DB_URL", environ={"TIDEMARK_OPERATIONS_DB_URL": ""})
    await refused("show", "17", code=1, says="there is no dead letter 17")


async def test_a_request_is_done_once_however_often_it_is_sent(harness: Harness) -> None:
    await harness.die("orders/o1")
    await harness.statuses(dead=1)
    first = await json_of("replay", "1", "--request-id", "once", "--actor", "ann")
    assert first == await json_of("replay", "1", "--request-id", "once", "--actor", "ann")
    await refused("replay", "1", "--request-id", "once", "--actor", "bob", code=1, says="request-id-reused")


async def test_help_teaches(idle: Harness) -> None:
    for arguments in ([], ["groups"], ["list"], ["show"], ["replay"], ["discard"], ["edit"], ["jobs"], ["audit"]):
        assert "tidemark dead-letters" in await said(*arguments, "--help")


async def test_somebody_is_interactive_is_asked(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.die("orders/o1")
    await harness.statuses(dead=1)
    await harness.command_dies("c-1", {"name": 5})
    await harness.statuses(dead=2)
    monkeypatch.setattr(operator_options, "is_interactive", lambda: True)
    assert (await dead_letters.run("discard", "1", given="n\n")).exit_code == 1
    await harness.statuses(dead=2)
    await said("discard", "1", given="y\na test order\n")
    await harness.statuses(discarded=1)

    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nsed -i \'s/5/"Ann"/\' "$1"\n')
    script.chmod(0o755)
    await refused("edit", "2", code=1, says="nothing was sent", environ={"EDITOR": "true", "VISUAL": None})
    await refused("edit", "2", code=2, says="editor", environ={"EDITOR": str(tmp_path / "none"), "VISUAL": None})
    await refused("edit", "1", code=1, says="events are facts", environ={"EDITOR": str(script), "VISUAL": None})
    await said("edit", "2", given="the name was a number\n", environ={"EDITOR": str(script), "VISUAL": None})
    (entry,) = (await json_of("audit", "--act", "edit"))["items"]
    assert entry["reason"] == "the name was a number"
