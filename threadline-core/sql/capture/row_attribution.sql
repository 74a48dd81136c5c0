@noted_action@    ELSE
@first_change@        -- Another first change: the transaction's row, without a call. Where the row is there already,
        -- the note was lost.
        IF pg_catalog.concat(
            pg_catalog.current_setting('threadline.recorded', true),
            pg_catalog.current_setting('threadline.suspended', true)
        ) OPERATOR(pg_catalog.=) '' THEN
@read_context@@strict_first@            @first_transaction@;
            IF FOUND THEN
                @note@;
            END IF;
        END IF;
        IF v_note IS NULL THEN
@attribution@        END IF;
    END IF;
@strict@
