-- A job may go up in steps after its canary: it sends a share of its letters, waits for what comes of them, and goes on or stops.
ALTER TABLE jobs ADD COLUMN ramp integer[] NOT NULL DEFAULT '{}'; -- up to so many percent of the letters, ascending; then all
ALTER TABLE jobs ADD COLUMN steps_over integer NOT NULL DEFAULT 0; -- steps of the ramp that are behind it
ALTER TABLE jobs ADD COLUMN failed_before integer NOT NULL DEFAULT 0; -- failed and succeeded when the step began, or an operator said to go on
ALTER TABLE jobs ADD COLUMN succeeded_before integer NOT NULL DEFAULT 0;
-- Up to which letter it may send now.
ALTER TABLE jobs ADD COLUMN up_to integer NOT NULL GENERATED ALWAYS AS (
    CASE
        WHEN canary > 0 AND NOT canary_over THEN least(canary, total)
        WHEN steps_over < cardinality(ramp) THEN ceil(total * ramp[steps_over + 1] / 100.0)::integer
        ELSE total
    END
) STORED;
