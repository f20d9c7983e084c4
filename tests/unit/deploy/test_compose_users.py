"""docker compose gives each deployable the broker's user of its own, and the migration all of their passwords."""

import re
from pathlib import Path

import yaml

from deploy.broker.users import passwords_in, vhost_of
from deploy.servers.accounts.urls import RABBITMQ, own_setting
from shared.messaging.access import ACCESS, user_of
from shared.runtime.setting_values import variable

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
NAMED = re.compile(r"\$\{(\w+)(?::[?-][^}]*)?\}")


def environments() -> dict[str, dict[str, str]]:
    """Service → its environment, where a variable's value is its name."""
    services = yaml.safe_load(NAMED.sub(lambda found: found[1], TEXT))["services"]
    return {name: service.get("environment") or {} for name, service in services.items()}


def test_each_deployable_connects_as_itself() -> None:
    found = environments()
    deployables = [name for name in found if name in ACCESS]
    assert len(deployables) >= 10
    urls = {name: found[name]["TIDEMARK_RABBITMQ_URL"] for name in deployables}
    passwords = passwords_in(urls)
    assert set(passwords) == {user_of(name) for name in deployables}
    assert len(set(passwords.values())) == len(deployables)
    assert {vhost_of(url) for url in urls.values()} == {"/"}
    given = {name: found["migrate"].get(variable(own_setting(name, RABBITMQ))) for name in deployables}
    assert given == urls


def test_only_the_migration_has_the_administrator_s_password() -> None:
    having = {name for name, environment in environments().items() if "RABBITMQ_PASSWORD" in environment.values()}
    having |= {name for name, each in environments().items() if any(":RABBITMQ_PASSWORD@" in v for v in each.values())}
    assert having == {"rabbitmq", "migrate"}


def test_every_password_is_generated() -> None:
    script = (ROOT / "deploy" / "compose-env.sh").read_text()
    for name in set(re.findall(r"RABBITMQ_(\w+)_PASSWORD", TEXT)):
        assert re.search(rf"RABBITMQ_\{{[\w,]*\b{name}\b[\w,]*\}}_PASSWORD", script), name


def test_a_url_of_another_user_sets_no_password() -> None:
    assert passwords_in({"worker": "amqp://guest:guest@localhost/", "relay": "amqp://tidemark_relay:a%40b@h/%2F"}) == {
        "tidemark_relay": "a@b"
    }
