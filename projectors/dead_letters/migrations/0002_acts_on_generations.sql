-- Acts on the generations of a projection are in the audit, too: each once, though its projector may tell of it twice.

ALTER TABLE audit ADD COLUMN projection text;
CREATE UNIQUE INDEX audit_by_projection ON audit (projection, request_id, act, (details ->> 'asked_at'))
    WHERE projection IS NOT NULL;
