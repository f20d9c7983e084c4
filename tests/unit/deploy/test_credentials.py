"""``tidemark credentials``: which accounts it finds in files, and what it writes there and sends to the servers."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.credentials import commands
from deploy.credentials.accounts import Server, accounts
from deploy.credentials.files import rewrite
from deploy.credentials.passwords import scram_verifier
from deploy.run.deployables import environment
from deploy.servers.provide import from_environment
from shared.runtime.setting_values import SettingError

OWNER = "postgresql://tidemark:x@db/x"


def files(folder: Path, urls: Mapping[str, str]) -> dict[str, str]:
    """Each URL in a file; the variables that name them."""
    for name, url in urls.items():
        (folder / name).write_text(f"{url}\n")
    return {f"TIDEMARK_{name.upper()}_FILE": str(folder / name) for name in urls}


def test_an_account_is_a_login_at_one_server_whichever_files_have_it(tmp_path: Path) -> None:
    environ = files(
        tmp_path,
        {
            "worker_write_db_url": "postgresql://tidemark_worker:a%40b@write:5432/tidemark_write",
            "worker_keys_db_url": "postgresql://tidemark_worker:a%40b@keys:5432/tidemark_keys",
            "worker_rabbitmq_url": "amqps://tidemark_worker:c@mq/%2F?heartbeat=10",
            "summary_reader_url": "postgresql://tidemark_reader:d@read/tidemark_read",
            "search_reader_url": "postgresql://tidemark_reader:d@read/tidemark_read",
            "analytics_reader_url": "rediss://reader:e@redis:6379/0",
        },
    ) | {"TIDEMARK_RELAY_WRITE_DB_URL": "postgresql://tidemark_relay:f@write/tidemark_write"}
    found = accounts(environ=environ)
    assert [(each.deployable, each.server, each.user, each.address, len(each.urls)) for each in found] == [
        ("worker", Server.RABBITMQ, "tidemark_worker", "mq", 1),
        ("worker", Server.POSTGRESQL, "tidemark_worker", "write:5432", 1),
        ("worker", Server.POSTGRESQL, "tidemark_worker", "keys:5432", 1),
        ("query", Server.POSTGRESQL, "tidemark_reader", "read", 2),
        ("query", Server.REDIS, "reader", "redis:6379", 1),
    ]
    assert found[1].password == "a@b"  # noqa: S105
    assert found[-1].setting == "analytics_redis_url"
    assert [each.deployable for each in accounts(["query"], Server.REDIS, environ)] == ["query"]
    assert not any("a%40b" in repr(each) for each in found)


def test_a_url_without_a_password_is_named_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"^TIDEMARK_WORKER_RABBITMQ_URL_FILE: .* has no URL with a user and a password$"
    ):
        accounts(environ=files(tmp_path, {"worker_rabbitmq_url": "amqp://mq"}))


def test_a_file_is_rewritten_in_place_for_what_it_is_mounted_into(tmp_path: Path) -> None:
    environ = files(tmp_path, {"worker_rabbitmq_url": "amqp://tidemark_worker:a-long-password@mq/%2F?heartbeat=10"})
    (account,) = accounts(environ=environ)
    (file,) = account.urls
    file.chmod(0o640)
    before = file.stat()
    rewrite(account.with_password("n/w"))
    assert file.read_text() == "amqp://tidemark_worker:n%2Fw@mq/%2F?heartbeat=10\n"
    assert (file.stat().st_ino, file.stat().st_mode) == (before.st_ino, before.st_mode)


def test_a_deployable_gets_the_file_of_its_own_url_and_the_url_of_what_is_in_none(tmp_path: Path) -> None:
    urls = dict.fromkeys(("write_db_url", "operations_db_url", "keys_db_url", "read_db_url"), OWNER)
    plain = {f"TIDEMARK_{name.upper()}": url for name, url in urls.items()}
    plain |= {"TIDEMARK_RABBITMQ_URL": "amqp://tidemark:x@mq", "TIDEMARK_ANALYTICS_REDIS_URL": "redis://x:x@redis"}
    environ = plain | files(tmp_path, {"worker_write_db_url": "postgresql://tidemark_worker:a@db/tidemark_write"})
    servers = from_environment(environ)
    assert servers is not None
    worker = environment("worker", servers, environ)
    assert worker["TIDEMARK_WRITE_DB_URL_FILE"] == str(tmp_path / "worker_write_db_url")
    assert "TIDEMARK_WRITE_DB_URL" not in worker
    assert worker["TIDEMARK_KEYS_DB_URL"] == OWNER
    assert environment("relay", servers, environ)["TIDEMARK_WRITE_DB_URL"] == OWNER


def test_a_verifier_is_that_of_the_rfc_s_example() -> None:
    """RFC 7677 §3: the password "pencil"."""
    assert scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rotate"], "name deployables, or use --all"),
        (["rotate", "worker", "--all"], "name deployables, or use --all"),
        (["rotate", "wroker"], "there is no deployable 'wroker'"),
        (["rotate", "worker"], "no URL of worker is in a file"),
        (["list"], "no URL of a deployable is in a file"),
    ],
)
def test_wrong_use_is_said(arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(commands.app, arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
