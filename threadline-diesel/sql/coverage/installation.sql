-- Which release made the trail.
SELECT note ->> 'release' AS release, note ->> 'digest' AS digest
FROM @threadline@.installation() AS note
