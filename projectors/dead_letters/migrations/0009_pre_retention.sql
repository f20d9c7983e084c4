-- Closed letters go by their age, with all that belongs to them; what refers to one keeps its number.
ALTER TABLE letters DROP CONSTRAINT letters_replaces_fkey;
CREATE INDEX letters_closed_by_time ON letters (resolved_at) WHERE NOT live;
-- Failures come in the order of their times, and few are older than their letters' retention.
CREATE INDEX letter_failures_by_time ON letter_failures USING brin (failed_at) WITH (autosummarize = on);
