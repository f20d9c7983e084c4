"""The local payment provider: the same answer for the same payment, in the shares that the settings say."""

from collections import Counter
from datetime import timedelta

import msgspec
import pytest

from deploy.demo.payments.provider import DECLINED, Answer, LocalProvider
from deploy.demo.payments.service import QUEUE, REQUESTED, SOURCE, Service, messages
from deploy.run.deployables import programs
from deploy.servers.accounts.urls import PAYMENT_PROVIDER
from deploy.servers.provide import Servers
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from shared.messages.envelope import CONTENT_TYPE, EventEnvelope, pack, split
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer
from shared.read_models import NAMES as READ_NAMES
from tests import payments, shop

NOWHERE = "amqp://127.0.0.1:1"
PROMPT, LATE = timedelta(seconds=2), timedelta(minutes=20)


def provider(*, failed: float = 0.05, late: float = 0.1, seed: int = 7) -> LocalProvider:
    return LocalProvider(PROMPT, LATE, failed, late, seed)


def service(chosen: LocalProvider) -> Service:
    return Service(chosen, Publisher(NOWHERE, "tests"), Consumer(NOWHERE, [QUEUE], prefetch=1, name="tests"))


def envelope(data: EventData, stream: str) -> bytes:
    kind, schema = EVENTS[type(data)]
    return EventEnvelope(
        id=f"{stream}@1",
        source="tidemark",
        type=kind,
        subject=stream,
        time=shop.NOON,
        data=data,
        streamversion=1,
        schemaversion=schema,
        causationid="c",
        correlationid="c",
    ).to_json()


def test_a_payment_gets_the_same_answer_every_time_and_another_seed_chooses_others() -> None:
    asked = [payments.requested(f"y-{number}") for number in range(200)]
    first = [provider().answer(payment) for payment in asked]
    assert first == [provider().answer(payment) for payment in asked]
    assert first != [provider(seed=8).answer(payment) for payment in asked]


def test_shares_of_late_and_failed_payments_are_those_of_the_settings() -> None:
    answers = Counter(provider().answer(payments.requested(f"y-{number}")) for number in range(10_000))
    assert 400 < answers[Answer(PROMPT, DECLINED)] < 600
    assert 900 < answers[Answer(LATE)] < 1100
    assert answers.total() == answers[Answer(PROMPT)] + answers[Answer(LATE)] + answers[Answer(PROMPT, DECLINED)]


ALL_OF_THEM = [(0.0, 0.0, Answer(PROMPT)), (1.0, 0.0, Answer(PROMPT, DECLINED)), (0.0, 1.0, Answer(LATE))]


@pytest.mark.parametrize(("failed", "late", "expected"), ALL_OF_THEM)
def test_none_and_all_are_possible_shares(failed: float, late: float, expected: Answer) -> None:
    chosen = provider(failed=failed, late=late)
    assert {chosen.answer(payments.requested(f"y-{number}")) for number in range(50)} == {expected}


def test_requests_are_answered_by_scheduled_commands_with_the_payment_s_id_and_the_rest_is_ignored() -> None:
    other = envelope(shop.placed(), "orders/o-1")
    requests = [envelope(payments.requested(id_), f"payments/{id_}") for id_ in ("y-1", "y-2")]
    answers = list(service(provider(failed=0, late=0)).answers(pack([other, *requests])))
    commands = [msgspec.json.decode(answer.body) for answer in answers]
    assert [(each["id"], each["source"], each["subject"]) for each in commands] == [
        (f"answer:{id_}", SOURCE, id_) for id_ in ("y-1", "y-2")
    ]
    assert {each["type"] for each in commands} == {"payments.capture-payment"}
    assert {each["notbefore"] for each in commands} == {"2026-03-31T12:00:02Z"}
    assert answers == list(service(provider(failed=0, late=0)).answers(pack(requests))), (
        "the same command for the same event"
    )
    [declined] = service(provider(failed=1)).answers(requests[0])
    assert (declined.type, msgspec.json.decode(declined.body)["data"]) == (
        "payments.fail-payment",
        {"reason": DECLINED},
    )


def test_answers_of_one_type_travel_together_and_each_of_them_is_sent() -> None:
    requests = [envelope(payments.requested(f"y-{number}"), f"payments/y-{number}") for number in range(250)]
    answers = list(service(provider(failed=0.5, late=0)).answers(pack(requests)))
    sent = messages(answers)
    assert len(sent) == 4
    commands = [command for each in sent for command in split(each.body)]
    assert sorted(command["subject"] for command in commands) == sorted(f"y-{number}" for number in range(250))
    assert {each.routing_key for each in sent} == {command["type"] for command in commands}
    [alone] = messages(answers[:1])
    assert (alone.content_type, alone.body) == (CONTENT_TYPE, answers[0].body)


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", f'["{REQUESTED}"]'.encode(), f'{{"type":"{REQUESTED}"}}'.encode()]
)
def test_what_cannot_be_read_is_skipped(body: bytes) -> None:
    assert list(service(provider()).answers(body)) == []


def test_it_is_started_only_if_the_setting_says_so() -> None:
    urls = dict.fromkeys(READ_NAMES, "x")
    fields = ("rabbitmq_url", "write_db_url", "operations_db_url", "processes_db_url", "keys_db_url", "origin")
    servers = Servers(**dict.fromkeys(fields, "x"), stores=urls)  # type: ignore[arg-type]
    assert PAYMENT_PROVIDER not in [each.name for each in programs(servers, {})]
    [*_, last] = programs(servers, {"TIDEMARK_PAYMENT_PROVIDER": "local"})
    assert last.name == PAYMENT_PROVIDER
    assert [name for name in last.env if name.endswith("_URL")] == ["TIDEMARK_RABBITMQ_URL"]
