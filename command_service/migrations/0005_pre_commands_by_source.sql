-- source and id together identify a command, as in CloudEvents. '' is the source of commands decided before sources were stored: it is
-- unknown, so such an id is taken for every source. Older workers still write ''; newer ones never do.
ALTER TABLE commands ADD COLUMN source text NOT NULL DEFAULT '';
ALTER TABLE commands DROP CONSTRAINT commands_pkey, ADD PRIMARY KEY (command_id, source);
