-- Commands without an outcome because of an error inside the service, until they get one. Commands that merely wait in a queue are not here.
CREATE TABLE undecided_commands (
    command_id   text NOT NULL,
    source       text NOT NULL,
    command_type text NOT NULL,
    reason       text NOT NULL,
    -- Number of attempts alone, after workers had died while they held it.
    attempts     integer NOT NULL DEFAULT 0,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (command_id, source)
);
