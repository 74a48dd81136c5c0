
SELECT @threadline@.lock_for_enrolment(ARRAY[@tables@]::text[]);
