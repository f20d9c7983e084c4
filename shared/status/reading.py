"""What is asked of the operations database for a snapshot: rows fit ``LetterGroup``, ``Job`` and ``Verification``."""

from typing import Final

GROUPS: Final = """
SELECT origin, fingerprint, min(reason) AS reason, count(*) AS count, max(id) AS example, min(first_failed_at) AS since,
    count(*) FILTER (WHERE first_failed_at > now() - interval '5 minutes') AS recent
FROM letters
WHERE live AND NOT EXISTS (
    SELECT FROM group_notes note
    WHERE (note.origin, note.fingerprint) = (letters.origin, letters.fingerprint) AND note.snoozed_until > now()
)
GROUP BY origin, fingerprint ORDER BY count(*) DESC LIMIT 100
"""
"""The largest causes, without those that an operator has snoozed."""
JOBS: Final = """
SELECT id, state, why FROM jobs WHERE state IN ('pending', 'canary', 'running', 'paused', 'stopped') ORDER BY id DESC LIMIT 100
"""
VERIFIED: Final = "SELECT finished_at, complete, differences FROM verifications ORDER BY id DESC LIMIT 1"
