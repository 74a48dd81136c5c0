-- Filters of a timeline that an operator saved under a name.
CREATE TABLE @threadline@.audit_saved_views (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    owner      text COLLATE "C" NOT NULL,
    name       text        NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 128),
    is_shared  boolean     NOT NULL,
    filters    jsonb       NOT NULL CHECK (jsonb_typeof(filters) = 'object'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (owner, name)
);

COMMENT ON TABLE @threadline@.audit_saved_views IS 'One row for each saved view. State, not a record.';
COMMENT ON COLUMN @threadline@.audit_saved_views.owner IS 'The actor that saved it: type:id.';
COMMENT ON COLUMN @threadline@.audit_saved_views.filters IS 'Filter name to text, as on the command line. Relative instants stay relative.';
