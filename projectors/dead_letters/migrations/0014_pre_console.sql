-- What operators say of a cause of dead letters; gone with the last letter of it only if somebody clears it.
CREATE TABLE group_notes (
    origin        text NOT NULL,
    fingerprint   text NOT NULL,
    owner         text,
    note          text,
    bug           text,        -- the address of its report
    snoozed_until timestamptz, -- until then it is no finding
    updated_at    timestamptz NOT NULL DEFAULT now(),
    updated_by    text NOT NULL,
    PRIMARY KEY (origin, fingerprint)
);

-- Whether operators' acts over HTTP are forbidden: read before each act.
CREATE TABLE operators_acts (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    forbidden boolean NOT NULL DEFAULT false,
    since     timestamptz,
    by_whom   text,
    reason    text
);
INSERT INTO operators_acts DEFAULT VALUES;

-- Verifications and comparisons that were asked for over HTTP. The dead-letter worker adds them, with their audit; `tidemark checks` carries
-- them out, one after the other, and alone writes how far one is and what came of it.
CREATE TABLE checks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id  text NOT NULL UNIQUE,
    kind        text NOT NULL CHECK (kind IN ('verify', 'compare')),
    request     jsonb NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    state       text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
    cancelled   boolean NOT NULL DEFAULT false, -- asked for
    progress    text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    equal       boolean,       -- nothing was wrong; of a finished one
    result      jsonb,         -- the command's own JSON
    error       text
);
CREATE INDEX checks_open ON checks (id) WHERE state IN ('queued', 'running');
