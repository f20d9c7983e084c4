"""Secrets are made outside of the manifests, which only refer to them, and every reference finds what it names."""

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.k8s import secrets
from deploy.k8s.servers import password_variables
from deploy.k8s.table import POSTGRES, SERVERS, WORKLOADS, server_of
from deploy.servers.accounts import redis_users
from tests.unit.kubernetes.conftest import Objects

BY_OPERATORS = {
    "rabbitmq-default-user": {"username", "password"},
    **{f"{server.name}-superuser": {"username", "password"} for server in POSTGRES},
}


def references(value: Any) -> Iterator[tuple[str, str | None]]:
    """(Secret, key) wherever an object names one; no key: all of it."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name in ("secretKeyRef", "redisSecret"):
                yield each["name"], each["key"]
            elif name == "secret" and "items" in each:
                yield from ((each.get("secretName", each.get("name")), item["key"]) for item in each["items"])
            elif name == "secret":
                yield each.get("secretName", each.get("name")), None
            else:
                yield from references(each)


def made(*, operators: bool) -> dict[str, dict[str, str]]:
    return {each["metadata"]["name"]: each["stringData"] for each in secrets.objects(operators=operators)}


@pytest.mark.parametrize("operators", [False, True])
def test_every_secret_that_a_pod_names_is_made_and_none_is_in_the_manifests(
    request: pytest.FixtureRequest, operators: bool
) -> None:
    objects: Objects = request.getfixturevalue("production" if operators else "small")
    assert "Secret" not in {each["kind"] for each in objects}
    found = {name: set(data) for name, data in made(operators=operators).items()}
    assert not operators or not found.keys() & BY_OPERATORS.keys()
    found |= BY_OPERATORS if operators else {}
    named = set(references(objects))
    assert len(named) > 50
    for name, key in named:
        assert name in found
        assert key is None or key in found[name], name
    unused = found.keys() - {name for name, _ in named}
    assert unused == (set() if operators else {"tidemark-owner"})


def test_each_deployable_has_urls_of_its_own_accounts() -> None:
    found = made(operators=False)
    for workload in WORKLOADS:
        for setting in workload.settings:
            url, server = urlsplit(found[workload.secret][setting]), server_of(setting)
            assert (url.hostname, url.port) == (server.host, server.port)
            if server.databases:
                assert url.path[1:] in server.databases
                assert url.password == found["tidemark-databases"][f"{(url.username or '').upper()}_DB_PASSWORD"]
    passwords = {
        (name, urlsplit(data["rabbitmq_url"]).username): urlsplit(data["rabbitmq_url"]).password
        for name, data in found.items()
        if "rabbitmq_url" in data
    }
    assert len(set(passwords.values())) == len(passwords) == len(WORKLOADS) - 1
    assert {server.name for server in SERVERS} == {"write-db", "keys-db", "read-db", "redis", "rabbitmq"}


def test_redis_s_users_are_those_of_the_code_and_only_its_operator_may_be_the_default_user() -> None:
    single, operated = made(operators=False)["tidemark-redis"], made(operators=True)["tidemark-redis"]
    users = {user: single[name] for user, name in password_variables().items()}
    assert single["user.acl"] == redis_users.acl(users)
    first, *others = operated["user.acl"].splitlines()
    assert first == f"user default on {redis_users.hash_of(operated['REDIS_DEFAULT_PASSWORD'])} ~* &* +@all"
    assert [line.split()[1] for line in others] == list(redis_users.RULES)


def test_the_program_makes_other_passwords_each_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["secrets"])
    printed = []
    for _ in range(2):
        secrets.main()
        printed.append(json.loads(capsys.readouterr().out)["items"])
    first, second = ({each["metadata"]["name"]: each["stringData"] for each in items} for items in printed)
    assert first.keys() == second.keys() == made(operators=False).keys()
    assert not set(first["tidemark-databases"].values()) & set(second["tidemark-databases"].values())
