-- The version of the shape and meaning of a stream's stored state. State of another version than the code's is replayed from the
-- stream's events when it is next needed.
ALTER TABLE streams ADD COLUMN state_version integer NOT NULL DEFAULT 1;
