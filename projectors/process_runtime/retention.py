"""What a process manager keeps of finished processes, and for how long.

Inputs and commands go; the process stays, finished, with its state and its result: what comes for it later must not begin it anew. What the
history was for (deciding nothing twice, moving to new rules) ends with the process: its events are behind the positions, its commands have
their outcomes, and only unfinished processes are moved.
"""

from collections.abc import Sequence
from typing import Final

from shared.processes import folder_of
from shared.runtime.retention import Pruner, RetentionOptions, Rule

# Not while a command has no outcome, or an input is not decided: then something is still expected. $2 processes at once, with at most
# some dozens of rows each.
HISTORIES: Final = """
WITH old AS MATERIALIZED (
    SELECT id FROM processes p
    WHERE status = 'done' AND pruned_at IS NULL AND done_at < now() - $1::interval AND updated_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM commands c WHERE c.process = p.id AND c.outcome IS NULL)
      AND NOT EXISTS (SELECT FROM inputs i WHERE i.process = p.id AND i.decided IS NULL)
      AND NOT EXISTS (SELECT FROM timers t WHERE t.process = p.id)
    ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED
), given AS (
    DELETE FROM inputs USING old WHERE inputs.process = old.id
), sent AS (
    DELETE FROM commands USING old WHERE commands.process = old.id
), marked AS (
    UPDATE processes SET pruned_at = now() FROM old WHERE processes.id = old.id RETURNING 1
) SELECT count(*) FROM marked
"""
BATCH: Final = 200


def rules(options: RetentionOptions) -> Sequence[Rule]:
    return (Rule("histories of finished processes", options.processes_retention_days, HISTORIES, BATCH),)


def pruner(manager: str, url: str, options: RetentionOptions | None = None) -> Pruner:
    options = options or RetentionOptions()
    return Pruner(url, rules(options), schema=folder_of(manager), every_s=options.retention_every_s)
