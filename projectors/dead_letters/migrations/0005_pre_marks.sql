-- Dead commands that the command service is to be told about: what has become of them. A row goes once the broker has the message.
CREATE TABLE marks (
    letter_id bigint PRIMARY KEY REFERENCES letters (id),
    mark      text NOT NULL CHECK (mark IN ('discarded', 'superseded', 'delivery-limit'))
);
