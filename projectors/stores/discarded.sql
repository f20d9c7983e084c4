-- Events that an operator has given up: the projection has stepped over them, or will when they come.

CREATE TABLE discarded (
    stream  text NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    PRIMARY KEY (stream, version)
);
