"""The deploy step that creates and updates what the services require: database schemas, privileges, exchanges, queues and bindings."""

from pathlib import Path
from typing import Final

import command_service
from deploy.run import privileges
from deploy.run.topology import declare
from projectors.dead_letters.migrations import migrate as migrate_operations
from projectors.process_runtime.migrations import migrate as migrate_process
from projectors.stores.migrations import migrate as migrate_projection
from shared import processes
from shared.read_models import READ_MODELS
from shared.runtime.postgres import migrate as migrate_database
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
    for model in READ_MODELS:
        names = await migrate_projection(model.name, settings.store_url(model.name))
        done += [f"{model.name}: {name}" for name in names]
    for process in processes.NAMES:
        done += [f"{process}: {name}" for name in await migrate_process(process, settings.processes_url())]
    names = await migrate_operations(settings.require("operations_db_url"))
    done += [f"operations: {name}" for name in names]
    done += await privileges.apply(settings)
    done += [f"rabbitmq: {line}" for line in await declare(settings.require("rabbitmq_url"), settings.lanes)]
    return done
