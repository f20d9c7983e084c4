-- Doctors, by the words of their name and speciality, and by names that are spelt alike.
CREATE TABLE doctors (
    doctor_id  text PRIMARY KEY,
    name       text NOT NULL,
    speciality text,
    time_zone  text NOT NULL,
    version    bigint NOT NULL,
    terms      tsvector NOT NULL
);
CREATE INDEX doctors_terms ON doctors USING gin (terms);
CREATE INDEX doctors_name_trigrams ON doctors USING gin (name gin_trgm_ops);
CREATE INDEX doctors_by_speciality ON doctors (speciality, doctor_id);
