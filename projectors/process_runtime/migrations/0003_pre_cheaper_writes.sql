-- A process is written with each of its inputs. With no index on what changes each time, and room on the page, only the row is written.
-- Processes that wait for something are unfinished: these are found by their number, and filtered.
DROP INDEX processes_by_waiting;
CREATE INDEX processes_unfinished ON processes (number) WHERE status <> 'done';
ALTER TABLE processes SET (fillfactor = 50);

-- What is only kept and shown is checked, and not taken apart.
ALTER TABLE processes ALTER state TYPE json, ALTER failure TYPE json;
ALTER TABLE inputs ALTER body TYPE json;
ALTER TABLE commands ALTER data TYPE json, ALTER outcome TYPE json;
