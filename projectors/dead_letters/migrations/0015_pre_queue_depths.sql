-- How many messages wait in each queue, as the dead-letter worker counts them: written again every few seconds, so with room in each page.
CREATE TABLE queue_depths (
    queue      text PRIMARY KEY,
    messages   bigint NOT NULL,      -- those that wait, without those that a consumer has
    consumers  integer NOT NULL,
    counted_at timestamptz NOT NULL
) WITH (fillfactor = 50);
