-- Results of checks of the audit system itself, and statements of the host about it. Append-only.

CREATE TABLE @threadline@.audit_evidence (
    order_id        bigint      PRIMARY KEY,
    transaction_id  uuid        NOT NULL,
    recorded_at     timestamptz NOT NULL,
    recorded_by     text        NOT NULL,
    basis           text COLLATE "C" NOT NULL CHECK (basis IN ('checked', 'attested')),
    subject         text COLLATE "C" NOT NULL CHECK (subject ~ '^[a-z][a-z_]{0,62}$'),
    subject_ref     jsonb       NOT NULL,
    outcome         text COLLATE "C" NOT NULL CHECK (outcome IN ('pass', 'fail', 'incomplete')),
    summary_status  text        NOT NULL,
    check_name      text COLLATE "C",
    check_version   integer,
    library_version text,
    observed_from   timestamptz,
    observed_to     timestamptz,
    valid_until     timestamptz,
    actor           text COLLATE "C",
    detail          jsonb       NOT NULL
);

COMMENT ON TABLE @threadline@.audit_evidence IS
    'One row for each result of a check of the audit system, and for each statement of the host about it.';
COMMENT ON COLUMN @threadline@.audit_evidence.basis IS
    'checked: the library ran a check. attested: the host says so. Set by the functions, never by the caller.';
COMMENT ON COLUMN @threadline@.audit_evidence.observed_from IS 'The time that the check looked at, up to observed_to.';
COMMENT ON COLUMN @threadline@.audit_evidence.valid_until IS 'Afterwards the result is out of date.';

-- The newest evidence of a subject.
CREATE INDEX audit_evidence_subject_idx ON @threadline@.audit_evidence (subject, order_id);

CREATE TRIGGER guard_record BEFORE DELETE OR UPDATE OR TRUNCATE ON @threadline@.audit_evidence
    FOR EACH STATEMENT EXECUTE FUNCTION @threadline@.guard_record();

-- Inserts evidence with a basis. Raises an error if a field is missing or malformed.
CREATE FUNCTION @threadline@.insert_evidence(basis text, evidence jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    transaction_id uuid := @threadline@.current_transaction_id();
    order_id bigint := nextval('@threadline@.audit_changes_id_seq');
    actor_given text := @threadline@.actor_text(evidence -> 'actor');
    field text;
BEGIN
    FOREACH field IN ARRAY ARRAY['subject', 'outcome', 'summary_status'] LOOP
        IF coalesce(trim(evidence ->> field), '') = '' THEN
            RAISE EXCEPTION '%: evidence has one', field USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF jsonb_typeof(evidence -> 'subject_ref') IS DISTINCT FROM 'object'
        OR jsonb_typeof(evidence -> 'detail') IS DISTINCT FROM 'object'
    THEN
        RAISE EXCEPTION 'subject_ref and detail: not JSON objects' USING ERRCODE = 'invalid_parameter_value';
    ELSIF actor_given IS NULL AND jsonb_typeof(evidence -> 'actor') <> 'null' THEN
        RAISE EXCEPTION 'actor: not an actor: %', left(evidence ->> 'actor', 200)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF octet_length(evidence::text) > 1048576 THEN
        RAISE EXCEPTION 'evidence has at most 1 MiB' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO @threadline@.audit_evidence VALUES (
        order_id, transaction_id, clock_timestamp(), session_user, basis,
        evidence ->> 'subject', evidence -> 'subject_ref', evidence ->> 'outcome', evidence ->> 'summary_status',
        evidence ->> 'check_name', (evidence ->> 'check_version')::integer, evidence ->> 'library_version',
        (evidence ->> 'observed_from')::timestamptz, (evidence ->> 'observed_to')::timestamptz,
        (evidence ->> 'valid_until')::timestamptz, actor_given, evidence -> 'detail'
    );
    RETURN order_id;
END
$$;

-- Records the result of a check that the library ran. For the role of the worker.
CREATE FUNCTION @threadline@.record_check(evidence jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN @threadline@.insert_evidence('checked', evidence);

-- Records what the host says of its audit trail. For a role of the host.
CREATE FUNCTION @threadline@.record_evidence(evidence jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN @threadline@.insert_evidence('attested', evidence - '{check_name,check_version,library_version}'::text[]);
