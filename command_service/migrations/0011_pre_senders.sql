-- Who may send commands over the bus, by the name of the broker's user. Our own deployables are not in it: the code knows what they send.
CREATE TABLE senders (
    name       text PRIMARY KEY,
    -- Types of commands: 'orders.place-order', 'orders.*', '*'.
    may        text[] NOT NULL,
    -- The source of its commands, or what that begins with before a slash; NULL: it sends for anybody, as operators do.
    source     text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
