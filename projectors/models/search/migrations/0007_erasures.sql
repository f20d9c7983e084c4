-- Persons whose erasure this store has applied. Whatever arrives of them later is applied in the erased form.
CREATE TABLE erased_subjects (
    subject text PRIMARY KEY
);
