-- Dead commands that the command service is to be told about: what has become of them. A row goes once the broker has the message.
-- (Letters never go, so that nothing has to see to it that a mark has one.)
CREATE TABLE marks (
    letter_id bigint PRIMARY KEY,
    mark      text NOT NULL CHECK (mark IN ('discarded', 'superseded', 'delivery-limit'))
);
