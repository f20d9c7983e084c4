-- A page of the matching doctors, and the total number of matches.
-- One branch runs: by words ($1, a tsquery), by similarity ($3, the longest word), or, if both are null, by the filter only.
--   $1, $2  tsquery, and the same with every word as typed: doctors that match this come first
--   $3, $4  the word to which names must have a similar word; all words, for the score
--   $5 speciality; null: any
--   $6, $7 score and id of the last doctor of the previous page; $8 page size
WITH matched AS MATERIALIZED (
    SELECT doctor_id, name, speciality, time_zone, version,
           (terms @@ $2::text::tsquery)::integer + ts_rank_cd(terms, $1::text::tsquery, 32)::float8 AS score
    FROM doctors
    WHERE terms @@ $1::text::tsquery AND ($5::text IS NULL OR speciality = $5)
    UNION ALL
    SELECT doctor_id, name, speciality, time_zone, version,
           (SELECT avg(word_similarity(word, name)) FROM unnest($4::text[]) AS word)::float8 AS score
    FROM doctors
    WHERE $3::text <% name AND ($5::text IS NULL OR speciality = $5)
    UNION ALL
    SELECT doctor_id, name, speciality, time_zone, version, 0::float8 AS score
    FROM doctors
    WHERE $1::text IS NULL AND $3::text IS NULL AND speciality = $5
), page AS (
    SELECT * FROM matched
    WHERE score < $6::float8 OR (score = $6 AND doctor_id > $7::text)
    ORDER BY score DESC, doctor_id
    LIMIT $8
)
SELECT
    (SELECT count(*) FROM matched) AS total,
    ARRAY(SELECT jsonb_build_object(
        'doctor_id', doctor_id, 'name', name, 'speciality', speciality, 'time_zone', time_zone, 'version', version,
        'score', score)::text
        FROM page ORDER BY score DESC, doctor_id) AS items,
    ARRAY(SELECT score FROM page ORDER BY score DESC, doctor_id) AS scores,
    ARRAY(SELECT doctor_id FROM page ORDER BY score DESC, doctor_id) AS ids
