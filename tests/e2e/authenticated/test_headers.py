"""Headers that say whose request it is, sent twice or oversized, over connections to the services themselves."""

import asyncio

import pytest

from tests.e2e.authenticated.secured import Secured, subject

pytestmark = pytest.mark.timeout(300)

WITHIN_S = 30.0


async def test_a_header_that_says_who_asks_is_given_once_to_both_services(secured: Secured) -> None:
    good = await secured.headers(subject("twice"), "*")
    authorization = f"Authorization: {good['Authorization']}"
    refused = {
        "the same credential twice": ([authorization, authorization], 401),
        "a valid credential, and another": ([authorization, "Authorization: Bearer wrong"], 401),
        "another credential, and a valid one": (["Authorization: Bearer wrong", authorization], 401),
        "an oversized credential": (["Authorization: Bearer tmk_" + "x" * 9_000], 401),
        "an oversized token": ([f"Authorization: Bearer {'x' * 3_000}.{'y' * 6_000}.{'z' * 100}"], 401),
        "two hosts": ([authorization, "Host: localhost"], 400),
        "two hosts, one of them foreign": ([authorization, "Host: evil.example"], 400),
        "two persons": ([authorization, "Tidemark-Actor: ann", "Tidemark-Actor: eve"], 400),
        "two sources": ([authorization, "Tidemark-Source: shop", "Tidemark-Source: billing"], 400),
        "two ids": ([authorization, "Idempotency-Key: one", "Idempotency-Key: two"], 400),
        "two lengths": ([authorization, "Content-Length: 2", "Content-Length: 3"], 400),
        "none": ([authorization], 200),
    }
    found = {}
    for client, path in ((secured.queries, "/freshness"), (secured.commands, "/scheduled-commands")):
        for name, (lines, status) in refused.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            head = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
            writer.write("\r\n".join([*head, "", ""]).encode())
            async with asyncio.timeout(WITHIN_S):
                answer = await reader.read()
            writer.close()
            assert good["Authorization"][-20:].encode() not in answer
            if (got := int(answer.split()[1])) != status:
                found[name, path] = (got, answer)
    assert not found
