-- Jobs are never deleted, and items are created in their job's transaction: checking each of a hundred thousand items is useless.
ALTER TABLE job_items DROP CONSTRAINT job_items_job_id_fkey;
