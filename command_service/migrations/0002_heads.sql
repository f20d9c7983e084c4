-- For finding the streams changed since a time, which projectors request when they may have missed events.
CREATE INDEX streams_by_change ON streams (updated_at);
