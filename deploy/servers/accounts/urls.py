"""Which servers each deployable uses, one line each: it receives the URLs of these alone, and each of them names its own account.

A deployable's account has the same name everywhere: the role ``tidemark_<name>`` in PostgreSQL, the user ``<name>`` in Redis. The query
service's is called the reader, because it only reads. The owner ``tidemark`` is for migrations and operators, not for a deployable.
"""

from collections.abc import Mapping
from typing import Final

from shared.read_models import READ_MODELS
from shared.runtime.roles import OWNER, role_of
from shared.runtime.setting_values import variable

__all__ = ["ACCOUNTS", "IN_POSTGRES", "PAYMENT_PROVIDER", "QUERY", "RABBITMQ", "ROLES", "own_setting", "variable"]

RABBITMQ: Final = "rabbitmq_url"
WRITE: Final = "write_db_url"
OPERATIONS: Final = "operations_db_url"
PROCESSES: Final = "processes_db_url"
KEYS: Final = "keys_db_url"
STORES: Final = tuple(model.setting for model in READ_MODELS)

QUERY: Final = "query"
PAYMENT_PROVIDER: Final = "payment_provider"

ACCOUNTS: Final[Mapping[str, tuple[str, ...]]] = {
    "worker": (RABBITMQ, WRITE, KEYS),
    "relay": (RABBITMQ, WRITE, KEYS),
    "http": (RABBITMQ, WRITE, OPERATIONS),
    **{model.name: (RABBITMQ, model.setting, *((KEYS,) if model.has_personal_data else ())) for model in READ_MODELS},
    "processes": (RABBITMQ, PROCESSES),
    "dead_letters": (RABBITMQ, OPERATIONS, KEYS),
    QUERY: (RABBITMQ, OPERATIONS, PROCESSES, *STORES),
    PAYMENT_PROVIDER: (RABBITMQ,),
}
"""Deployable → the settings with the URLs that it receives."""

IN_POSTGRES: Final = tuple(
    name for name, settings in ACCOUNTS.items() if any(setting.endswith("_db_url") for setting in settings)
)
"""The deployables that use PostgreSQL."""
ROLES: Final = (OWNER, *map(role_of, IN_POSTGRES))
"""All roles of ``deploy/postgres/roles.sql``."""


def own_setting(deployable: str, setting: str) -> str:
    """The setting with the URL of this deployable alone: ``worker_write_db_url``; for a store that queries read, ``summary_reader_url``.

    Where it is not set, the plain setting (``write_db_url``) is the deployable's.
    """
    if deployable == QUERY and setting != RABBITMQ:
        return setting.removesuffix("_url").removesuffix("_db").removesuffix("_redis") + "_reader_url"
    return f"{deployable}_{setting}"
