-- The audit includes actions on the generations of a projection: each once, although its projector may report it twice.

ALTER TABLE audit ADD COLUMN projection text;
CREATE UNIQUE INDEX audit_by_projection ON audit (projection, request_id, act, (details ->> 'asked_at'))
    WHERE projection IS NOT NULL;
