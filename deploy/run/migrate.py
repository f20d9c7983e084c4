"""The deploy step that creates and updates what the services require: schemas, privileges, exchanges, queues, bindings and users."""

import json
from pathlib import Path
from typing import Final

import command_service
from deploy.broker.users import USERS, passwords_in, put_users
from deploy.keys.store import operations_database
from deploy.run import privileges
from deploy.run.topology import declare
from deploy.servers.accounts.urls import PAYMENT_PROVIDER, RABBITMQ, own_setting
from deploy.services.store import management_of, put_operator, put_permissions
from projectors.dead_letters.actions.audit import SYSTEM, record
from projectors.dead_letters.migrations import migrate as migrate_operations
from projectors.process_runtime.migrations import migrate as migrate_process
from projectors.stores.migrations import migrate as migrate_projection
from shared import processes
from shared.messaging.access import ACCESS, PREFIX, user_of
from shared.privacy.key_database import migrate as migrate_keys
from shared.read_models import READ_MODELS
from shared.runtime.postgres import migrate as migrate_database
from shared.runtime.setting_values import value, variable
from shared.runtime.settings import Settings

WRITE_MIGRATIONS: Final = Path(command_service.__file__).parent / "migrations"


async def migrate(settings: Settings) -> list[str]:
    """Bring every store and the broker up to date; safe to run again. Returns one line for each change.

    Raises the drivers' errors when a server is unavailable, and those of ``declare``.
    """
    done = [
        f"write: {name}"
        for name in await migrate_database(settings.require("write_db_url"), sorted(WRITE_MIGRATIONS.glob("*.sql")))
    ]
    done += [f"keys: {name}" for name in await migrate_keys(settings.require("keys_db_url"))]
    for model in READ_MODELS:
        names = await migrate_projection(model.name, settings.store_url(model.name))
        done += [f"{model.name}: {name}" for name in names]
    for process in processes.NAMES:
        done += [f"{process}: {name}" for name in await migrate_process(process, settings.processes_url())]
    names = await migrate_operations(settings.require("operations_db_url"))
    done += [f"operations: {name}" for name in names]
    done += await privileges.apply(settings)
    rabbitmq_url = settings.require("rabbitmq_url")
    done += [f"rabbitmq: {line}" for line in await declare(rabbitmq_url, settings.lanes)]
    await put_operator(settings)
    return done + [f"rabbitmq: {line}" for line in await _users(settings)]


async def _users(settings: Settings) -> list[str]:
    """Give all users their permissions, and deployables' the passwords that the deployables' own URLs in the environment have."""
    if not settings.rabbitmq_management_url:
        return ["permissions are left as they are: TIDEMARK_RABBITMQ_MANAGEMENT_URL is not set"]
    urls = {name: value(own_setting(name, RABBITMQ)) for name in ACCESS}
    management, passwords = management_of(settings), passwords_in(urls)
    changed = await management.with_other_passwords({name: passwords[name] for name in passwords if name in USERS})
    missing = await put_users(management, passwords)
    if changed:
        async with operations_database(settings) as operations, operations.transaction():
            details = json.dumps({"users": changed})
            await record(operations, SYSTEM, "passwords-changed", "tidemark migrate", details=details)
    services = await put_permissions(settings)
    lines = [
        f"there is no user {name}: set {variable(own_setting(name.removeprefix(PREFIX), RABBITMQ))}"
        for name in missing
        if name != user_of(PAYMENT_PROVIDER)  # for demos and tests
    ]
    return [*lines, f"permissions of {len(USERS) - len(missing)} deployables and {services} services in place"]
