-- Jobs never go, and items are made in the transaction that makes their job: looking it up for each of a hundred thousand tells nothing.
ALTER TABLE job_items DROP CONSTRAINT job_items_job_id_fkey;
