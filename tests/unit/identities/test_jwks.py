"""The issuer's keys: fetched when they are needed, not more often than they may be, and kept while the issuer is away."""

import asyncio
from typing import Any

import pytest

from shared.http.identities.guard import CredentialsUncheckedError, UnauthorisedError
from shared.http.identities.jwks import COOLDOWN_S, KEPT_S, Jwks
from shared.http.identities.tokens import TokenRules, TokenVerifier
from tests.issuer import AUDIENCE, ISSUER, publishing, signing_key

ALGORITHMS = ("ES256",)
OLD, NEW = signing_key("old"), signing_key("new")
RULES = TokenRules(ISSUER, AUDIENCE, ALGORITHMS, leeway_s=30)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_rotated_key_is_fetched_by_the_first_token_that_names_it_and_both_are_valid() -> None:
    async with publishing(OLD) as issuer:
        clock = Clock()
        tokens = TokenVerifier(RULES, Jwks(issuer.url, ALGORITHMS, clock=clock))
        assert (await tokens.identify(OLD.token(), None)).subject == "ann"
        issuer.keys = [OLD, NEW]
        clock.seconds += COOLDOWN_S
        assert (await tokens.identify(NEW.token(), None)).subject == "ann"
        assert (await tokens.identify(OLD.token(), None)).subject == "ann"
        assert issuer.fetched == 2


async def test_tokens_with_made_up_keys_cause_one_fetch_in_a_while() -> None:
    async with publishing(OLD) as issuer:
        clock = Clock()
        tokens = TokenVerifier(RULES, Jwks(issuer.url, ALGORITHMS, clock=clock))
        await tokens.identify(OLD.token(), None)
        clock.seconds += COOLDOWN_S
        made_up = [NEW.token(headers={"kid": f"made-up-{number}"}) for number in range(50)]
        results = await asyncio.gather(*(tokens.identify(one, None) for one in made_up), return_exceptions=True)
        assert all(isinstance(result, UnauthorisedError) for result in results)
        assert issuer.fetched == 2


async def test_known_keys_go_on_while_the_issuer_is_away_but_not_for_ever() -> None:
    async with publishing(OLD) as issuer:
        clock = Clock()
        tokens = TokenVerifier(RULES, Jwks(issuer.url, ALGORITHMS, clock=clock))
        await tokens.identify(OLD.token(), None)
        issuer.status = 500
        clock.seconds += 600
        assert (await tokens.identify(OLD.token(sub="bob"), None)).subject == "bob"
        with pytest.raises(UnauthorisedError):
            await tokens.identify(NEW.token(), None)
        clock.seconds += KEPT_S
        with pytest.raises(CredentialsUncheckedError):
            await tokens.identify(OLD.token(sub="bob"), None)
        issuer.status = 200
        clock.seconds += COOLDOWN_S
        assert await tokens.jwks._fetch() is None
        assert (await tokens.identify(OLD.token(sub="bob"), None)).subject == "bob"


async def test_without_ever_having_had_keys_nobody_is_let_in_and_nobody_refused() -> None:
    async with publishing(OLD) as issuer:
        issuer.status = 503
        jwks = Jwks(issuer.url, ALGORITHMS)
        with pytest.raises(CredentialsUncheckedError):
            await TokenVerifier(RULES, jwks).identify(OLD.token(), None)
        assert jwks.trouble is not None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/jwks.json", "/nowhere/jwks.json", "http://"])
async def test_an_issuer_that_cannot_be_reached_is_said_and_tried_again(url: str) -> None:
    jwks = Jwks(url, ALGORITHMS)
    task = asyncio.create_task(jwks.run())
    try:
        for _ in range(3000):
            if "fetching the keys" in (jwks.trouble or ""):
                break
            await asyncio.sleep(0.01)
        assert "fetching the keys" in (jwks.trouble or "")
        assert not task.done()
    finally:
        task.cancel()


def test_an_address_that_is_none_is_an_error_at_the_start() -> None:
    with pytest.raises(ValueError, match="IPv6"):
        Jwks("http://[::1", ALGORITHMS)


async def test_a_set_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("shared.http.identities.jwks.MAX_BYTES", 100)
    async with publishing(OLD) as issuer:
        assert "more than 100 bytes" in str(await Jwks(issuer.url, ALGORITHMS)._fetch())
    path = tmp_path / "jwks.json"
    path.write_bytes(b" " * 101)
    assert "more than 100 bytes" in str(await Jwks(f"file://{path}", ALGORITHMS)._fetch())


async def test_a_password_in_its_address_is_used_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with publishing(OLD) as issuer:
        jwks = Jwks(issuer.url.replace("http://", "http://reader:s3cr%2Ft@") + "?token=s3cret", ALGORITHMS)
        assert await jwks._fetch() is None
        assert "basic cmvhzgvyonmzy3ivda==" in issuer.request.lower()
        issuer.status = 503
        said = [str(await jwks._fetch())]
    said.append(str(await jwks._fetch()))
    assert "503" in said[0]
    assert not [text for text in said if "s3cr" in text]
    assert "s3cr%2F" not in caplog.text
    assert "s3cr/" not in caplog.text
