-- Takes the next letters of a job. Letters that another job has already sent are not sent again; letters closed meanwhile are skipped.
-- $1: job, $2: highest ord, $3: how many
-- Rows are updated by their complete keys only: with an additional condition and outdated statistics the planner would estimate a single
-- row, and join all rows with all taken items in a nested loop.
WITH picked AS (
    SELECT job_id, ord, letter_id FROM job_items
    WHERE job_id = $1 AND ord > (SELECT taken FROM jobs WHERE id = $1) AND ord <= $2 AND status = 'queued'
    ORDER BY ord
    LIMIT $3
    FOR UPDATE
), before AS MATERIALIZED (
    SELECT picked.job_id, picked.ord, l.id, l.status, l.fingerprint, l.origin, l.stream, l.version
    FROM picked JOIN letters l ON l.id = picked.letter_id
    ORDER BY l.id
    FOR UPDATE OF l
), sent AS (
    UPDATE job_items i SET
        status = CASE WHEN before.status IN ('dead', 'replaying') THEN 'sent' ELSE 'skipped' END,
        outcome = CASE WHEN before.status IN ('dead', 'replaying') THEN NULL ELSE before.status END,
        fingerprint = before.fingerprint, sent_at = now(), asked_at = now(), asks = 1
    FROM before WHERE i.job_id = before.job_id AND i.ord = before.ord
    RETURNING i.status
), marked AS (
    UPDATE letters SET status = 'replaying' FROM before WHERE letters.id = before.id AND before.status = 'dead'
), counted AS (
    UPDATE jobs SET
        taken = greatest(taken, (SELECT max(ord) FROM before)),
        under_way = under_way + (SELECT count(*) FROM sent WHERE status = 'sent'),
        skipped = skipped + (SELECT count(*) FROM sent WHERE status = 'skipped'),
        republished_at = CASE WHEN EXISTS (SELECT FROM before WHERE origin = 'commands') THEN now() ELSE republished_at END
    WHERE id = $1
)
SELECT id, origin, stream, version, status = 'dead' AS goes_out FROM before ORDER BY ord
