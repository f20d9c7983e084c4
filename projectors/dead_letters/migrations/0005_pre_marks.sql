-- Dead commands to report to the command service, with what became of them. A row is deleted once the broker has confirmed the message.
-- Letters are never deleted, so no foreign key is needed.
CREATE TABLE marks (
    letter_id bigint PRIMARY KEY,
    mark      text NOT NULL CHECK (mark IN ('discarded', 'superseded', 'delivery-limit'))
);
