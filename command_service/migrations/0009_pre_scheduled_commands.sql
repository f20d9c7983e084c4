-- Commands that are to be decided later. A row is deleted with the transaction that writes the command's outcome.
CREATE TABLE scheduled_commands (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command_id     text NOT NULL,
    source         text NOT NULL,
    command_type   text NOT NULL,
    body_hash      bytea NOT NULL,
    envelope       text NOT NULL,
    due_at         timestamptz NOT NULL,
    reply_to       text,
    correlation_id text,
    scheduled_at   timestamptz NOT NULL DEFAULT now(),
    -- When it was last put into the queue of commands; NULL: not yet.
    sent_at        timestamptz,
    UNIQUE (command_id, source)
);
CREATE INDEX scheduled_commands_by_time ON scheduled_commands (due_at, id);
