-- Which streams have changed since a time: asked by projectors that may have missed something.
CREATE INDEX streams_by_change ON streams (updated_at);
