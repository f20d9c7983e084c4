-- In which shape, and with which meaning, a stream's state is kept. State of another version than the code's is made anew from the
-- stream's events when it is next needed.
ALTER TABLE streams ADD COLUMN state_version integer NOT NULL DEFAULT 1;
