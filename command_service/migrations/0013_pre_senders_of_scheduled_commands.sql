-- The broker's user that has sent it: whether it may still send such commands counts when it is due. NULL: not known, from before.
ALTER TABLE scheduled_commands ADD COLUMN sender text;
