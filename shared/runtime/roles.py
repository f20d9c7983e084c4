"""The names of PostgreSQL's roles: each deployable has its own, with what it needs and no more (``deploy/run/grants.py``).

A role that a server does not have is left out everywhere: its deployable then runs as the owner.
"""

from typing import Final

OWNER: Final = "tidemark"
"""Owns the databases: for migrations and operators."""
READER: Final = "tidemark_reader"
"""The query service's: it reads, and nothing else."""


def role_of(deployable: str) -> str:
    return READER if deployable == "query" else f"{OWNER}_{deployable}"
