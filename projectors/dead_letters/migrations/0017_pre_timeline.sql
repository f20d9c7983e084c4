-- The version that each process had when one of its name started last: another one is a deployment, and in the audit.
CREATE TABLE builds (
    process text PRIMARY KEY,
    version text NOT NULL,
    since   timestamptz NOT NULL
);
-- Deployments, alerts and epochs are few among acts and denials.
CREATE INDEX audit_by_act ON audit (act, id);
