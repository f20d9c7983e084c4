"""Replaces the password of an account: first in its files, then at the server, each with its line in the audit.

Between the two, running deployables connect by the password that they were let in with before (``shared/runtime/connecting``), so the order
costs nobody a connection. Killed between the two, the file has the password that an administrator has to set: the next run says so.
"""

import json
import secrets
from collections.abc import Iterable
from typing import Final

from tenacity import AsyncRetrying, retry_if_not_exception_type, stop_after_delay, wait_fixed

from deploy.credentials.accounts import Account
from deploy.credentials.files import rewrite, store
from deploy.credentials.passwords import change, is_let_in
from deploy.keys.store import operations_database
from projectors.dead_letters.actions.audit import record
from shared.runtime.settings import Settings

PASSWORD_BYTES: Final = 24
SETTLE_S: Final = 30.0
ONE_AT_A_TIME: Final = "SELECT pg_advisory_lock(hashtextextended('tidemark credentials', 0))"


class RotationError(Exception):
    """An account has not got its new password; the message says what is."""


async def rotate(settings: Settings, accounts: Iterable[Account], *, actor: str, reason: str) -> list[Account]:
    """Replace the password of each of them; returns those with their new URLs.

    Raises RotationError, and the servers' errors. Those that are done before an error are done, and in the audit.
    """
    done = []
    async with operations_database(settings) as operations:
        await operations.execute(ONE_AT_A_TIME)
        for account in accounts:
            await _rotate_one(settings, account)
            details = {
                "deployable": account.deployable,
                "server": account.server.value,
                "user": account.user,
                "address": account.address,
            }
            async with operations.transaction():
                await record(operations, actor, "credential-rotated", reason, details=json.dumps(details))
            done.append(account)
    return done


async def _rotate_one(settings: Settings, account: Account) -> None:
    new = secrets.token_urlsafe(PASSWORD_BYTES)
    before, after = account.urls, account.with_password(new)
    if not await is_let_in(account, account.url):
        raise RotationError(
            f"{_named(account)}: the server refuses the password in {', '.join(map(str, before))}: set it there first"
        )
    async with change(settings, account, new) as step:
        rewrite(after)
        account.urls = after
        try:
            await step.set_new()
        except Exception as error:
            # It may have been set all the same.
            if not await _is_set(account):
                rewrite(before)
                account.urls = before
                raise RotationError(f"{_named(account)}: the server did not take a new password: {error}") from error
        if not await _is_set(account):
            rewrite(before)
            account.urls = before
            raise RotationError(f"{_named(account)}: the server does not let the new password in")
        account.urls = before  # whose password is removed
        store(account.user, account.password, new)
        await step.remove_old()
        account.urls = after


async def _is_set(account: Account) -> bool:
    """Whether the new password is let in, as soon as the server says so.

    Raises RotationError if it does not say in SETTLE_S. The files then have the new one: deployables that run connect by either.
    """
    try:
        return await AsyncRetrying(
            retry=retry_if_not_exception_type(RotationError),
            wait=wait_fixed(0.5),
            stop=stop_after_delay(SETTLE_S),
            reraise=True,
        )(is_let_in, account, account.url)
    except Exception as error:
        raise RotationError(
            f"{_named(account)}: whether the server has the new password is not known: {error};"
            f" it is in {', '.join(map(str, account.urls))}"
        ) from error


def _named(account: Account) -> str:
    return f"{account.deployable}: {account.user} at {account.server} {account.address}"
