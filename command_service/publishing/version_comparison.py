"""Finds the streams of a projection that are ahead of what this database and the projection's epoch have in common: lost by a restore.

Current versions would not show it: a stream may have new events since, with the versions of lost ones. So they are compared with
the versions before the first epoch that the projection does not know.
"""

from typing import Final

from command_service.handling.epochs import ensure_current
from shared.messages.control import CompareVersions, VersionsCompared
from shared.runtime.postgres import Connection

LAST_COMMON_EPOCH: Final = "SELECT coalesce(max(number), 0) FROM epochs WHERE epoch = ANY ($1::text[])"
AHEAD: Final = """
SELECT wanted.stream, wanted.applied, coalesce(common.version, 0) AS version
FROM unnest($1::text[], $2::bigint[]) AS wanted (stream, applied)
LEFT JOIN LATERAL (
    SELECT max(version) AS version FROM all_events AS events
    WHERE events.stream = wanted.stream AND (events.epoch IS NULL OR events.epoch <= $3)
) AS common ON true
WHERE wanted.applied > coalesce(common.version, 0)
ORDER BY wanted.stream
"""


async def compare_versions(connection: Connection, asked: CompareVersions) -> VersionsCompared | None:
    """The streams ahead; None: the request is about an epoch other than this database's."""
    if (await ensure_current(connection)).name != asked.epoch:
        return None
    common = await connection.fetchval(LAST_COMMON_EPOCH, list(asked.known))
    streams, versions = [stream for stream, _ in asked.streams], [version for _, version in asked.streams]
    rows = await connection.fetch(AHEAD, streams, versions, common)
    return VersionsCompared(
        projection=asked.projection,
        generation=asked.generation,
        epoch=asked.epoch,
        cursor=asked.cursor,
        following=asked.following,
        last=asked.last,
        ahead=tuple((row["stream"], row["applied"], row["version"]) for row in rows),
    )
