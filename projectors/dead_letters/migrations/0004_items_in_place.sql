-- An item is written twice after it is frozen: when it goes out, and when there is an answer. With room in its page, and no index over
-- what changes then, no index is written again. Instead a job knows how far it has got: up to there nothing is queued, beyond nothing is sent.
ALTER TABLE job_items SET (fillfactor = 40);
DROP INDEX job_items_queued, job_items_sent;
ALTER TABLE jobs ADD COLUMN taken integer NOT NULL DEFAULT 0;
