-- The trace of what led to a command (W3C Trace Context), which that of the command links to; NULL: it has none that is recorded.
ALTER TABLE commands ADD COLUMN traceparent text;
