-- An item is updated twice: when it is sent, and when it has an outcome. If the page has room and no index contains the changed columns,
-- the updates write no index (HOT). Instead, ``jobs.taken`` records the progress: no item up to it is queued, none beyond it is sent.
ALTER TABLE job_items SET (fillfactor = 40);
DROP INDEX job_items_queued, job_items_sent;
ALTER TABLE jobs ADD COLUMN taken integer NOT NULL DEFAULT 0;
