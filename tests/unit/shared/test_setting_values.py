"""Secrets come from files as well, and a setting that cannot be used is named without its value."""

from pathlib import Path

import pytest

from deploy.servers.errors import ServersError
from deploy.servers.provide import from_environment
from shared.runtime.connecting.current_url import current_url
from shared.runtime.setting_values import SettingError, from_file, require_url
from shared.runtime.settings import MissingSettingError, Settings

PASSWORD = "s3cret-word"  # noqa: S105
URL = f"postgresql://tidemark:{PASSWORD}@db:5432/tidemark_write"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WRITE_DB_URL", "OPERATOR_KEY", "READ_DB_URL", "SUMMARY_DB_URL", "LANES"):
        monkeypatch.delenv(f"TIDEMARK_{name}", raising=False)
        monkeypatch.delenv(f"TIDEMARK_{name}_FILE", raising=False)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_setting_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    file = tmp_path / "url"
    file.write_bytes((URL + end).encode())
    monkeypatch.setenv("TIDEMARK_WRITE_DB_URL_FILE", str(file))
    assert Settings().require("write_db_url") == URL


def test_any_setting_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("operator_key", PASSWORD), ("summary_db_url", URL), ("lanes", "8")):
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(f"TIDEMARK_{name.upper()}_FILE", str(tmp_path / name))
    found = Settings()
    assert (found.operator_key, found.store_url("summary"), found.lanes) == (PASSWORD, URL, 8)


def test_a_secret_that_was_replaced_is_seen_when_its_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    monkeypatch.setenv("TIDEMARK_OPERATOR_KEY_FILE", str(file))
    for text in ("old", "new"):
        file.write_text(text)
        assert from_file("operator_key") == text
    assert from_file("write_db_url") is None


@pytest.mark.parametrize("name", ["rabbitmq_url", "summary_db_url", "analytics_redis_url"])
def test_a_url_sees_the_new_password_in_its_file_however_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file, scheme = tmp_path / name, {"rabbitmq_url": "amqp", "summary_db_url": "postgresql"}.get(name, "redis")
    monkeypatch.delenv(f"TIDEMARK_{name.upper()}", raising=False)
    monkeypatch.setenv(f"TIDEMARK_{name.upper()}_FILE", str(file))
    file.write_text(f"{scheme}://user:old@host")
    settings = Settings()
    read = (getattr(settings, name), settings.require(name))
    file.write_text(f"{scheme}://user:new@host")
    assert [current_url(url) for url in read] == [f"{scheme}://user:new@host"] * 2


def test_a_setting_that_is_in_the_environment_and_in_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text(URL)
    monkeypatch.setenv("TIDEMARK_WRITE_DB_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("TIDEMARK_WRITE_DB_URL", "")
    assert Settings().write_db_url == URL
    monkeypatch.setenv("TIDEMARK_WRITE_DB_URL", URL)
    with pytest.raises(
        SettingError, match=r"^TIDEMARK_WRITE_DB_URL and TIDEMARK_WRITE_DB_URL_FILE are both set: set one of them$"
    ):
        Settings()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "it is not UTF-8"),
        (b"x" * 70_000, "is too long"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("TIDEMARK_OPERATOR_KEY_FILE", str(file))
    with pytest.raises(SettingError, match=f"^TIDEMARK_OPERATOR_KEY_FILE: {file} .*{problem}$"):
        Settings()


def test_servers_of_the_environment_may_have_their_urls_in_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(URL)
    with pytest.raises(ServersError, match="set all server URLs or none: TIDEMARK_RABBITMQ_URL") as raised:
        from_environment({"TIDEMARK_WRITE_DB_URL_FILE": str(tmp_path / "url")})
    assert "WRITE_DB_URL" not in str(raised.value)
    with pytest.raises(ServersError, match="TIDEMARK_WRITE_DB_URL_FILE: /nowhere cannot be read"):
        from_environment({"TIDEMARK_WRITE_DB_URL_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("write_db_url", f"postgresql://tidemark:{PASSWORD}#@db:5432/x"),
        ("write_db_url", f"postgresql://tidemark:12#{PASSWORD}@db:5432/x"),
        ("write_db_url", f"postgresql://tidemark:{PASSWORD}?@db:5432/x"),
        ("write_db_url", f"postgresql://tidemark:12/{PASSWORD}@db:5432/x"),
        ("write_db_url", f"postgresql://tidemark:{PASSWORD}@@db:5432/x"),
        ("write_db_url", f"postgresql://tidemark:{PASSWORD}@db:port/x"),
        ("write_db_url", f"postgresql://tidemark:{PASSWORD}@db:99999/x"),
        ("write_db_url", f"postgresql://tidemark:{PASSWORD}@[::1/x"),
        ("write_db_url", f"mysql://tidemark:{PASSWORD}@db:5432/x"),
        ("write_db_url", PASSWORD),
        ("read_db_url", f"tidemark:{PASSWORD}@db"),
        ("analytics_redis_url", f"http://reader:{PASSWORD}@redis:6379/0"),
        ("analytics_redis_url", f"redis://reader:{PASSWORD}/@redis:6379/0"),
        ("rabbitmq_url", f"http://tidemark:{PASSWORD}@bus:5672/"),
        ("rabbitmq_url", f"amqp://tidemark:{PASSWORD}#x@bus:5672/"),
    ],
)
def test_what_is_no_url_is_named_without_the_password(name: str, url: str) -> None:
    with pytest.raises(SettingError, match=f"^TIDEMARK_{name.upper()} is no URL like ") as raised:
        require_url(name, url)
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("write_db_url", URL),
        ("write_db_url", "postgres://tidemark:a%40%23%2Fb@db/x?sslmode=verify-full&options=-c%20a%3Db"),
        ("write_db_url", "postgresql://u:p@one:5432,two:5432/x?target_session_attrs=read-write"),
        ("write_db_url", "postgresql://u:p@[::1]:5432/x"),
        ("write_db_url", "postgresql:///x?host=/var/run/postgresql&user=u@realm"),
        ("summary_db_url", "postgresql://u:p@db/x"),
        ("analytics_redis_url", "rediss://reader:p@redis:6379/0"),
        ("analytics_redis_url", "unix://reader:p@/var/run/redis.sock?db=0"),
        ("rabbitmq_url", "amqp://u:p@bus:5672/%2F?heartbeat=10"),
        ("rabbitmq_url", "amqps://u:p@bus/"),
        ("operator_key", "@:/?#"),
    ],
)
def test_urls_of_many_forms_are_taken(name: str, url: str) -> None:
    assert require_url(name, url) == url


def test_a_missing_setting_and_a_bad_one_are_told_apart() -> None:
    with pytest.raises(MissingSettingError, match=r"^TIDEMARK_WRITE_DB_URL is not set$"):
        Settings().require("write_db_url")
    with pytest.raises(SettingError, match="is no URL"):
        Settings(write_db_url=PASSWORD).require("write_db_url")
