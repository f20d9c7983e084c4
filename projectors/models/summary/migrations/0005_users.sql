-- Users, and what was changed about each of them: by whom, when, before and after. What a change leaves as it was is not in before
-- and after, so all after of a user, one over the other up to a time, are the user as they were then.
CREATE TABLE users (
    user_id text PRIMARY KEY,
    role    text NOT NULL,
    active  boolean NOT NULL,
    version bigint NOT NULL,
    doc     jsonb NOT NULL
);
CREATE INDEX users_by_role ON users (role, user_id);
CREATE INDEX users_by_active ON users (active, user_id);
CREATE INDEX users_by_role_and_active ON users (role, active, user_id);

CREATE TABLE user_audit (
    user_id text NOT NULL,
    version bigint NOT NULL,
    type    text NOT NULL,
    at      timestamptz NOT NULL,
    actor   text,
    before  json NOT NULL,
    after   json NOT NULL,
    PRIMARY KEY (user_id, version)
);

-- Who requested it; NULL: the command named nobody.
ALTER TABLE history ADD COLUMN actor text;
