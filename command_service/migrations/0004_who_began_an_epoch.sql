-- Of epochs that an operator began; NULL: the database noticed by itself, or nobody was asked yet.
ALTER TABLE epochs ADD COLUMN actor text;
