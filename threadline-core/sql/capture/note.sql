v_note := pg_catalog.set_config(
    'threadline.recorded',
    pg_catalog.concat(v_expected, CASE WHEN v_context.error IS NOT NULL THEN '!' END),
    true
);
v_recorded_in := pg_catalog.setval('@threadline@.capture_session'::pg_catalog.regclass, @recorded_in@)
