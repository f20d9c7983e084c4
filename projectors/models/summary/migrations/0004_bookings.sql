-- A practice's doctors, patients and bookings. A booking's row has the ids of its doctor and patient and never their names, which are joined
-- when it is read: renaming a doctor changes one row, however many bookings there are.

CREATE TABLE doctors (
    doctor_id text PRIMARY KEY,
    name      text NOT NULL,
    time_zone text NOT NULL,
    version   bigint NOT NULL,
    doc       jsonb NOT NULL
);

CREATE TABLE patients (
    patient_id text PRIMARY KEY,
    name       text NOT NULL,
    version    bigint NOT NULL,
    doc        jsonb NOT NULL
);

CREATE TABLE bookings (
    booking_id text PRIMARY KEY,
    patient_id text NOT NULL,
    doctor_id  text NOT NULL,
    status     text NOT NULL,
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    version    bigint NOT NULL,
    doc        jsonb NOT NULL
);
CREATE INDEX bookings_by_doctor ON bookings (doctor_id, starts_at, booking_id);
CREATE INDEX bookings_by_patient ON bookings (patient_id, starts_at, booking_id);
CREATE INDEX bookings_by_status ON bookings (status, starts_at, booking_id);
CREATE INDEX bookings_by_time ON bookings (starts_at, booking_id);
