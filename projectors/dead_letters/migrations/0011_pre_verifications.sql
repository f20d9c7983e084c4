-- What `tidemark verify` found, each time it finished: for the metrics, which say how long ago all was last known to be equal.
CREATE TABLE verifications (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    complete    boolean NOT NULL,           -- all read models, with all their content
    differences bigint NOT NULL,            -- findings that are wrong
    details     jsonb NOT NULL
);
CREATE INDEX verifications_equal ON verifications (finished_at) WHERE complete AND differences = 0;
