-- When the inputs and commands of a finished process were removed by their age; NULL: they are there.
ALTER TABLE processes ADD COLUMN pruned_at timestamptz;
CREATE INDEX processes_done_by_time ON processes (done_at) WHERE status = 'done' AND pruned_at IS NULL;
