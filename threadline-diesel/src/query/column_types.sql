-- The types of the key columns of a table ($1, $2: schema and name), or of one of its columns ($3).
-- Present columns have their present types, dropped ones the type of the newest policy.
WITH RECURSIVE enrolment AS (
    SELECT enrolled.*, class.oid AS present_relation
    FROM threadline.current_enrolment($1, $2) AS enrolled
    LEFT JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = $1
    LEFT JOIN pg_catalog.pg_class AS class ON class.relnamespace = namespace.oid AND class.relname = $2
), declared AS (
    SELECT columns.name, columns.attnum, columns.type
    FROM enrolment, jsonb_to_recordset(enrolment.columns) AS columns (name text, attnum int, type text)
), wanted AS (
    SELECT key.position, key.attnum
    FROM enrolment, unnest(enrolment.key_attnums) WITH ORDINALITY AS key (attnum, position)
    WHERE $3 IS NULL
    UNION ALL
    SELECT 1, declared.attnum FROM declared WHERE declared.name = $3
), typed AS (
    SELECT wanted.position, declared.name, attribute.attname, declared.type AS declared_type,
        COALESCE(attribute.atttypid, to_regtype(declared.type)) AS type_id,
        COALESCE(attribute.atttypmod, -1) AS modifier
    FROM wanted
    JOIN declared ON declared.attnum = wanted.attnum
    CROSS JOIN enrolment
    LEFT JOIN pg_catalog.pg_attribute AS attribute
        ON attribute.attrelid = enrolment.present_relation AND attribute.attnum > 0 AND NOT attribute.attisdropped
        AND CASE WHEN enrolment.present_relation = enrolment.relation THEN attribute.attnum = declared.attnum
            ELSE attribute.attname = declared.name END
), base AS (
    SELECT typed.position, typed.type_id, typed.modifier FROM typed
    UNION ALL
    SELECT base.position, domain.typbasetype, domain.typtypmod
    FROM base JOIN pg_catalog.pg_type AS domain ON domain.oid = base.type_id AND domain.typtype = 'd'
)
SELECT
    COALESCE(typed.attname::text, typed.name) AS column_name,
    typed.name AS stored_name,
    format_type(type.oid, base.modifier) AS type_name,
    format_type(type.oid, -1) AS unconstrained,
    format('OPERATOR(%I.=)', COALESCE((
        SELECT namespace.nspname FROM pg_catalog.pg_operator AS operator
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = operator.oprnamespace
        WHERE operator.oprname = '=' AND operator.oprleft = type.oid AND operator.oprright = type.oid
        LIMIT 1
    ), 'pg_catalog')) AS equals,
    type.typtype = 'e' OR type.oid = ANY (
        '{bool,int2,int4,int8,oid,uuid,text,varchar,bpchar,name,date,time,timestamp,timestamptz,bytea}'::regtype[]
    ) AS has_one_text,
    -- Earlier values may be none of the present type: it was altered, or labels of an enum were renamed.
    type.typtype = 'e' OR EXISTS (
        SELECT FROM threadline.audit_enrolments AS enrolled,
            jsonb_to_recordset(enrolled.columns) AS earlier (name text, type text)
        WHERE enrolled.table_schema = $1 AND enrolled.table_name = $2 AND earlier.name = typed.name
            AND earlier.type <> format_type(typed.type_id, typed.modifier)
    ) AS has_other_values
FROM typed
JOIN base ON base.position = typed.position
JOIN pg_catalog.pg_type AS type ON type.oid = base.type_id AND type.typtype <> 'd'
ORDER BY typed.position
