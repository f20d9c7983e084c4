-- The operator who began the epoch; NULL: detected automatically, or begun before this column existed.
ALTER TABLE epochs ADD COLUMN actor text;
