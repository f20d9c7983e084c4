-- A letter that goes out again changes its status, and nothing that an index knows of: with room in its page no index is written again.
-- So indexes ask whether it is live, which it stays, and half of each page is left for the rows' next versions.
ALTER TABLE letters SET (fillfactor = 50);
ALTER TABLE letters ADD COLUMN live boolean GENERATED ALWAYS AS (status IN ('dead', 'replaying')) STORED;
DROP INDEX letters_live_by_time, letters_live;
CREATE INDEX letters_live_by_time ON letters (last_failed_at DESC, id DESC) WHERE live;
CREATE INDEX letters_live ON letters (id) WHERE live;
-- Letters never go, and a job's selection is frozen from them: to look for each once more would be a third of freezing it.
ALTER TABLE job_items DROP CONSTRAINT job_items_letter_id_fkey;
