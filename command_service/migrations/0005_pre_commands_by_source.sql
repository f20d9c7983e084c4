-- source and id together name a command, as CloudEvents has it. '' is the source of what was decided before it was kept: nobody knows
-- it any more, so such an id is taken for every source. Older workers go on writing that; newer ones never do.
ALTER TABLE commands ADD COLUMN source text NOT NULL DEFAULT '';
ALTER TABLE commands DROP CONSTRAINT commands_pkey, ADD PRIMARY KEY (command_id, source);
