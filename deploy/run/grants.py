"""Who may do what in PostgreSQL: one table. What is not in it is revoked by every ``tidemark migrate`` (``deploy/run/privileges.py``).

The owner ``tidemark`` may do everything, and no deployable runs as it. A projector owns its read model's schemas, because it makes and
drops generations and partitions while it runs, and has no rights in any other. **A new table needs a line here**, and a new deployable its
role in ``deploy/servers/accounts/urls.py``; tests compare the table with what each role may really do, and run each one's statements as it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared import processes
from shared.read_models import IN_POSTGRES
from shared.runtime.roles import role_of
from shared.views.generations import registry_schema
from shared.views.operations import SCHEMA as OPERATIONS

READ: Final = "SELECT"
APPEND: Final = "SELECT, INSERT"
CHANGE: Final = "SELECT, INSERT, UPDATE"
EDIT: Final = "SELECT, INSERT, UPDATE, DELETE"
CALL: Final = "EXECUTE"

Tables = Mapping[str, str]
"""Table or view → privileges, by commas. ``*``: all tables and views of the schema. ``name()``: a function that runs as its owner."""
ALL_READABLE: Final[Tables] = {"*": READ}


@dataclass(frozen=True)
class Grants:
    """What the deployables may do in some schemas of the database of one setting. ``schemas``: a regular expression."""

    setting: str
    schemas: str
    tables: Mapping[str, Tables]
    """Deployable → what it may do."""
    maker: str | None = None
    """The deployable that owns these schemas, and may make more of them."""


WRITE: Final = Grants(
    "write_db_url",
    "public",
    {
        # Events, outcomes and epochs are added and never changed. Retention deletes old outcomes; `tidemark archive`, which moves events,
        # runs as the owner.
        "worker": {
            "streams": CHANGE,
            "events": "INSERT",
            "all_events": READ,
            "commands": "SELECT, INSERT, DELETE",
            "claims": "SELECT, INSERT, DELETE",
            "outbox": "INSERT",
            "epochs": APPEND,
            "undecided_commands": EDIT,
            "scheduled_commands": EDIT,
            "erasures": "INSERT",
            "senders": READ,
        },
        "relay": {
            "outbox": "SELECT, DELETE",
            "streams": READ,
            "all_events": READ,
            "epochs": APPEND,
            "undecided_commands": READ,
            "scheduled_commands": "SELECT, UPDATE",
            "erasures": "SELECT, UPDATE",
            "sealing": READ,
        },
        # all_events: the state of a stream whose kept state has an older version is replayed.
        "http": {
            "commands": READ,
            "undecided_commands": READ,
            "scheduled_commands": READ,
            "streams": READ,
            "all_events": READ,
        },
    },
)
OPERATIONS_GRANTS: Final = Grants(
    "operations_db_url",
    OPERATIONS,
    {
        "dead_letters": {
            # Retention deletes what is closed.
            "letters": EDIT,
            "payloads": EDIT,
            "letter_failures": "SELECT, INSERT, DELETE",
            "requests": "SELECT, INSERT, DELETE",
            "jobs": CHANGE,
            "job_items": EDIT,
            "discards": EDIT,
            "resent_commands": EDIT,
            "marks": EDIT,
            "verifications": READ,
            "group_notes": CHANGE,
            "operators_acts": "UPDATE",
            "checks": EDIT,
            "queue_depths": EDIT,
            "builds": CHANGE,
            # The audit is added to by one function, which chains it, and cut off by another, as its retention says.
            "record_audit()": CALL,
            "prune_audit()": CALL,
        },
        "http": {"api_keys": READ, "api_keys_revision": READ, "operators_acts": READ},
        "query": ALL_READABLE,
    },
)
PROCESS_GRANTS: Final = tuple(
    Grants(
        "processes_db_url",
        f"{schema}|{registry_schema(schema)}",
        {
            "processes": {
                "positions": CHANGE,
                "held": EDIT,
                "progress": CHANGE,
                "discarded": APPEND,
                "processes": CHANGE,
                "inputs": EDIT,
                "timers": EDIT,
                "commands": EDIT,
                "counters": CHANGE,
                "generations": CHANGE,
            },
            "query": ALL_READABLE,
        },
    )
    for schema in map(processes.folder_of, processes.NAMES)
)
READ_MODEL_GRANTS: Final = tuple(
    Grants(
        model.setting,
        rf"{model.name}(_\d+)?|{registry_schema(model.name)}",
        {"query": ALL_READABLE},
        maker=model.name,
    )
    for model in IN_POSTGRES
)
KEYS: Final = Grants(
    "keys_db_url",
    "public",
    {
        "worker": {"subject_keys": APPEND, "erased_subjects": READ, "secrets": APPEND},
        # It destroys keys; who is erased stays erased.
        "relay": {"subject_keys": "SELECT, DELETE", "erased_subjects": APPEND},
        "dead_letters": {"subject_keys": APPEND, "erased_subjects": READ},
        **{
            model.name: {"subject_keys": READ, "erased_subjects": READ}
            for model in IN_POSTGRES
            if model.has_personal_data
        },
    },
)
GRANTS: Final = (WRITE, KEYS, OPERATIONS_GRANTS, *PROCESS_GRANTS, *READ_MODEL_GRANTS)

ROLES: Final = frozenset(
    role_of(name) for grants in GRANTS for name in (*grants.tables, *([grants.maker] if grants.maker else []))
)
"""Every role whose privileges are declared here."""
