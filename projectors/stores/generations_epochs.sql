-- What a generation knows of the write database's epochs; see shared/views/generations.py and projectors/epochs.py.
ALTER TABLE generations
    ADD COLUMN former text[] NOT NULL DEFAULT '{}',
    ADD COLUMN moving_to text,
    ADD COLUMN compare_cursor text NOT NULL DEFAULT '',
    ADD COLUMN compared boolean NOT NULL DEFAULT false,
    ADD COLUMN ahead bigint NOT NULL DEFAULT 0,
    ADD COLUMN examples text[] NOT NULL DEFAULT '{}';
