"""``python -m deploy.k8s.secrets [--operators]``: new passwords as Secrets, as JSON, for `kubectl apply --namespace tidemark --filename -`.

Each run makes other passwords, and none is written anywhere else. A secret store can make the same Secrets: the names and keys are these.
``--operators``: without those that the operators of RabbitMQ and PostgreSQL make by themselves.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Mapping
from typing import Final

from deploy.checks.program import NAME as CHECKS
from deploy.k8s.objects import Object, made
from deploy.k8s.pods import ADMINISTRATOR, PASSWORDS, password_of
from deploy.k8s.servers import OWNER_SECRET, REDIS_SECRET, password_variables
from deploy.k8s.table import BROKER, POSTGRES, REDIS, STORES, WORKLOADS, Workload, server_of
from deploy.servers.accounts import redis_users
from deploy.servers.accounts.urls import RABBITMQ, ROLES
from shared.messaging.access import user_of
from shared.runtime.roles import OWNER, role_of

BASIC: Final = "kubernetes.io/basic-auth"


def objects(*, operators: bool) -> list[Object]:
    roles = {role: _password() for role in ROLES}
    redis = {user: _password() for user in redis_users.RULES}
    default = _password()
    key = _password()

    def url(setting: str, deployable: str | None) -> str:
        server = server_of(setting)
        if setting == RABBITMQ:
            assert deployable  # noqa: S101
            return f"amqp://{user_of(deployable)}:{_password()}@{BROKER.host}:{BROKER.port}/?heartbeat=10"
        if server == REDIS:
            user = redis_users.user_of(deployable) if deployable else OWNER
            return f"redis://{user}:{redis[user]}@{REDIS.host}:{REDIS.port}/0"
        role = role_of(deployable) if deployable else OWNER
        return f"postgresql://{role}:{roles[role]}@{server.host}:{server.port}/{server.settings[setting]}"

    def of(workload: Workload) -> Object:
        name = None if workload.name == CHECKS else workload.name
        urls = {setting: url(setting, name) for setting in workload.settings}
        return _secret(workload.secret, urls | ({"operator_key": key} if workload.operator_key else {}))

    variables = password_variables()
    acl = redis_users.acl(redis)
    if operators:
        # The operator watches and replicates as this user.
        hashed = redis_users.hash_of(default)
        acl = acl.replace(redis_users.DEFAULT_USER, f"user default on {hashed} ~* &* +@all")
    found = [
        *map(of, WORKLOADS),
        _secret("tidemark-migrate", {setting: url(setting, None) for setting in STORES}),
        _secret(PASSWORDS, {password_of(role): password for role, password in roles.items()}),
        _secret(
            REDIS_SECRET,
            {
                **{variables[user]: password for user, password in redis.items()},
                "REDIS_DEFAULT_PASSWORD": default,
                "user.acl": acl,
            },
        ),
        _secret(OWNER_SECRET, {"username": OWNER, "password": roles[OWNER]}, BASIC),
    ]
    if not operators:
        found += [
            _secret(server.superuser, {"username": "postgres", "password": _password()}, BASIC) for server in POSTGRES
        ]
        found.append(_secret(ADMINISTRATOR, {"username": "tidemark", "password": _password()}, BASIC))
    return found


def _password() -> str:
    return secrets.token_urlsafe(24)


def _secret(name: str, data: Mapping[str, str], kind: str = "Opaque") -> Object:
    return made("v1", "Secret", name, {"type": kind, "stringData": dict(data)})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.k8s.secrets", description="Prints new passwords as Secrets."
    )
    parser.add_argument("--operators", action="store_true", help="the servers are run by operators")
    items = objects(operators=parser.parse_args().operators)
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
