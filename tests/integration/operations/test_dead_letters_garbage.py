"""Garbage at the dead-letter routes: a clear 4xx problem, never an error of ours, and nothing of it reaches the worker."""

from typing import Any

import httpx
import pytest

from shared.runtime.settings import Settings

pytestmark = pytest.mark.usefixtures("db")

GARBAGE = ["%00", "a%00b", "%ED%A0%80", "%FF", "", "9" * 5000]
NUMBERS = ["-1", "0", "1.5", "99999999999999999999", "x", "[]", "%F0%9F%A5%9B"]
PARAMETERS = [
    ("/dead-letters", ("origin", "fingerprint", "stream", "type", "text"), GARBAGE),
    ("/dead-letters", ("status", "failed_from", "failed_to", "limit", "cursor"), [*GARBAGE, *NUMBERS]),
    ("/dead-letters/groups", ("origin", "fingerprint", "stream", "type", "text"), GARBAGE),
    ("/dead-letters/groups", ("failed_from", "failed_to", "limit"), [*GARBAGE, *NUMBERS]),
    ("/dead-letters/jobs", ("limit", "cursor"), [*GARBAGE, *NUMBERS]),
    ("/dead-letters/audit", ("letter_id", "job_id", "limit", "cursor"), [*GARBAGE, *NUMBERS]),
    ("/dead-letters/audit", ("actor", "act", "projection"), GARBAGE),
    ("/audit", ("letter_id", "job_id", "at_from", "at_to", "limit", "cursor"), [*GARBAGE, *NUMBERS]),
    ("/audit", ("actor", "act", "projection", "request_id"), GARBAGE),
]
EVERYTHING = {"everything": True}
JSON = {"Content-Type": "application/json"}


def is_problem(answer: httpx.Response, *statuses: int) -> bool:
    return answer.status_code in statuses and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "name", "values"), [(path, name, values) for path, names, values in PARAMETERS for name in names]
)
async def test_every_parameter_refuses_garbage(
    reader: httpx.AsyncClient, path: str, name: str, values: list[str]
) -> None:
    for value in values:
        answer = await reader.get(f"{path}?{name}={value}")
        assert is_problem(answer, 400), (value, answer.text)
    for query in (f"{name}=a&{name}=b", f"{name.upper()}=a", "everything=true"):
        assert is_problem(await reader.get(f"{path}?{query}"), 400)


@pytest.mark.parametrize("number", [*NUMBERS, "%00", "%FF"])
async def test_every_number_in_a_path_is_one(reader: httpx.AsyncClient, ann: httpx.AsyncClient, number: str) -> None:
    assert is_problem(await reader.get(f"/dead-letters/{number}"), 400, 404)
    assert is_problem(await reader.get(f"/dead-letters/jobs/{number}"), 400, 404)
    assert is_problem(await ann.post(f"/dead-letters/jobs/{number}/pause"), 400, 404)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[" * 100_000, b'{"selection": NaN}', b'{"reason": "\\ud800"}'],
)
async def test_a_body_that_is_no_object_is_refused(ann: httpx.AsyncClient, body: bytes) -> None:
    for path in ("replay", "discard", "edit"):
        assert is_problem(await ann.post(f"/dead-letters/{path}", content=body, headers=JSON), 400)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("replay", {}),
        ("replay", {"selection": {}}),
        ("replay", {"selection": EVERYTHING, "actor": "bob"}),
        ("replay", {"selection": EVERYTHING, "rate": 0}),
        ("replay", {"selection": EVERYTHING, "rate": "nan"}),
        ("replay", {"selection": EVERYTHING, "canary": -1}),
        ("replay", {"selection": EVERYTHING, "ramp": [50, 10]}),
        ("replay", {"selection": EVERYTHING, "ramp": [100]}),
        ("replay", {"selection": EVERYTHING, "concurrency": 0}),
        ("replay", {"selection": EVERYTHING, "stop_after": 0}),
        ("replay", {"selection": EVERYTHING, "reason": "\x00"}),
        ("replay", {"selection": EVERYTHING, "reason": "x" * 2001}),
        ("replay", {"selection": EVERYTHING, "speed": "fast"}),
        ("replay", {"selection": {"letter_ids": ["x"]}}),
        ("replay", {"selection": {"failed_from": "yesterday"}}),
        ("replay", {"selection": {"colour": "red"}}),
        ("discard", {"selection": EVERYTHING}),
        ("discard", {"selection": EVERYTHING, "reason": ""}),
        ("edit", {"letter_id": 1, "data": [], "reason": "x"}),
        ("edit", {"letter_id": "x", "data": {}, "reason": "x"}),
        ("edit", {"letter_id": 1, "data": {}, "reason": "x", "command_id": "a b"}),
        ("jobs/1/pause", {"to": "running"}),
        ("jobs/1/pause", {"job_id": 2}),
        ("jobs/1/cancel", {"reason": 7}),
    ],
)
async def test_a_body_that_says_something_else_is_refused(
    ann: httpx.AsyncClient, harness: Any, path: str, body: dict[str, Any]
) -> None:
    answer = await ann.post(f"/dead-letters/{path}", json=body)
    assert is_problem(answer, 422), answer.text
    assert answer.json()["code"] == "validation-failed"


async def test_other_types_sizes_and_headers_are_refused(ann: httpx.AsyncClient, migrated: Settings) -> None:
    path = "/dead-letters/replay"
    text = await ann.post(path, content=b"everything", headers={"Content-Type": "text/plain"})
    assert is_problem(text, 415)
    assert is_problem(await ann.post(path, content=b" " * (2 * 1024 * 1024), headers=JSON), 413)
    assert is_problem(await ann.post(f"{path}?dry_run=true", json={"selection": EVERYTHING}), 400)
    for key in (b"x" * 201, b"", b"\xff"):
        answer = await ann.post(path, json={"selection": EVERYTHING}, headers=[(b"Idempotency-Key", key)])
        assert is_problem(answer, 400), answer.text
    wrong = await ann.get(path)
    assert is_problem(wrong, 405)
    assert wrong.headers["allow"] == "POST, OPTIONS"
