-- One key per person. Without it, what was sealed for them is noise: to destroy the key is to erase the person, in every copy and backup.
CREATE TABLE subject_keys (
    subject text PRIMARY KEY,
    key     bytea NOT NULL CHECK (octet_length(key) = 32),
    made_at timestamptz NOT NULL DEFAULT now()
);

-- Who is erased. A row is never removed: it refuses data of the person for ever, and has the erasure applied again after a restore of the
-- write database. The write database has the same list: each of the two restores what the other one has lost.
CREATE TABLE erased_subjects (
    subject   text PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);

-- Secrets that are nobody's: of claims, and of certificates.
CREATE TABLE secrets (
    name    text PRIMARY KEY,
    secret  bytea NOT NULL CHECK (octet_length(secret) = 32),
    made_at timestamptz NOT NULL DEFAULT now()
);
