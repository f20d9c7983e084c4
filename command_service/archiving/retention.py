"""What the write database keeps about commands, and for how long: outcomes, rejections, and why a command has no outcome.

A command whose outcome has been removed is decided again if the same command is sent again (deploy/decisions/0066), so the default is a
year. Scheduled commands need no rule: they go with the transaction that writes their outcome.
"""

from collections.abc import Sequence
from typing import Final

from shared.runtime.retention import Pruner, RetentionOptions, Rule

OUTCOMES: Final = """
WITH gone AS (
    DELETE FROM commands WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM commands WHERE decided_at < now() - $1::interval ORDER BY decided_at LIMIT $2
    )) RETURNING 1
) SELECT count(*) FROM gone
"""
REJECTIONS: Final = """
WITH gone AS (
    DELETE FROM commands WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM commands WHERE outcome ->> 'type' = 'command.rejected' AND decided_at < now() - $1::interval
        ORDER BY decided_at LIMIT $2
    )) RETURNING 1
) SELECT count(*) FROM gone
"""
# Not of a command that is also scheduled: without this row it would be taken for one that only waits for its time.
UNDECIDED: Final = """
WITH gone AS (
    DELETE FROM undecided_commands WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM undecided_commands u WHERE since < now() - $1::interval AND NOT EXISTS (
            SELECT FROM scheduled_commands s WHERE s.command_id = u.command_id AND s.source = u.source
        ) LIMIT $2
    )) RETURNING 1
) SELECT count(*) FROM gone
"""


def rules(options: RetentionOptions) -> Sequence[Rule]:
    rejections = options.rejections_retention_days
    return (
        Rule("outcomes", options.outcomes_retention_days, OUTCOMES),
        Rule("rejections", 0 if rejections is None else rejections, REJECTIONS),
        Rule("reasons of undecided commands", options.undecided_retention_days, UNDECIDED),
    )


def pruner(write_db_url: str, options: RetentionOptions | None = None) -> Pruner:
    options = options or RetentionOptions()
    return Pruner(write_db_url, rules(options), every_s=options.retention_every_s)
