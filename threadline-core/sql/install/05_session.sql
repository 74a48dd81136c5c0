-- Stored values must not show the settings of the session that wrote them. Capture looks at the
-- settings its table's types depend on; only where one is unusual does it come here.

-- Sets everything that shows in values to what the trail is written with, for the moment.
-- Returns what was set before, for unpin_session.
CREATE OR REPLACE FUNCTION @threadline@.pin_session() RETURNS text[]
LANGUAGE plpgsql AS $pin$
DECLARE
    before pg_catalog.text[] := ARRAY[
        pg_catalog.current_setting('TimeZone'),
        pg_catalog.current_setting('DateStyle'),
        pg_catalog.current_setting('IntervalStyle'),
        pg_catalog.current_setting('bytea_output'),
        pg_catalog.current_setting('extra_float_digits'),
        pg_catalog.current_setting('lc_monetary'),
        pg_catalog.current_setting('search_path'),
        pg_catalog.current_setting('quote_all_identifiers')
    ];
BEGIN
    PERFORM pg_catalog.set_config('TimeZone', 'UTC', true);
    PERFORM pg_catalog.set_config('DateStyle', 'ISO, MDY', true);
    PERFORM pg_catalog.set_config('IntervalStyle', 'postgres', true);
    PERFORM pg_catalog.set_config('bytea_output', 'hex', true);
    PERFORM pg_catalog.set_config('extra_float_digits', '1', true);
    PERFORM pg_catalog.set_config('lc_monetary', 'C', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    RETURN before;
END
$pin$;

CREATE OR REPLACE FUNCTION @threadline@.unpin_session(before text[]) RETURNS void
LANGUAGE plpgsql AS $unpin$
BEGIN
    PERFORM pg_catalog.set_config('TimeZone', before[1], true);
    PERFORM pg_catalog.set_config('DateStyle', before[2], true);
    PERFORM pg_catalog.set_config('IntervalStyle', before[3], true);
    PERFORM pg_catalog.set_config('bytea_output', before[4], true);
    PERFORM pg_catalog.set_config('extra_float_digits', before[5], true);
    PERFORM pg_catalog.set_config('lc_monetary', before[6], true);
    PERFORM pg_catalog.set_config('search_path', before[7], true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', before[8], true);
END
$unpin$;
