
-- No writes to tables that get their triggers until this migration commits.
SELECT @threadline@.lock_for_enrolment(VARIADIC ARRAY[@tables@]::text[]);
