-- The kinds of stream that a generation has; NULL: it was built before they were recorded. See shared/views/generations.py.
ALTER TABLE generations ADD COLUMN kinds text[];
