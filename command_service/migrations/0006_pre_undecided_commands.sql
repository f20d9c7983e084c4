-- Commands that have no outcome for a reason of ours, until they get one. A command that merely waits in a queue is not here.
CREATE TABLE undecided_commands (
    command_id   text NOT NULL,
    source       text NOT NULL,
    command_type text NOT NULL,
    reason       text NOT NULL,
    -- How often it was tried alone, after workers had died while they held it.
    attempts     integer NOT NULL DEFAULT 0,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (command_id, source)
);
