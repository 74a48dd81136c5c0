//! The calls of retention, for sync and for async connections: one body, expanded twice.

/// The calls, on connections of a kind. `$rest` rests for a while.
macro_rules! retention_calls {
    ($connection:path, $manager:path, $dsl:path, $rest:path $(, $asyncness:ident, $await:ident)?) => {
        use chrono::{DateTime, Utc};
        use diesel::pg::Pg;
        use threadline_core::retention::RetentionPolicy;
        use threadline_core::table::TableName;
        use threadline_core::telemetry;
        use $connection as Connection;
        use $dsl;
        use $manager as Manager;

        use crate::error::ReadError;
        use crate::retention::rows;
        use crate::retention::{
            Maintenance, PurgeOptions, PurgeOutcome, PurgeStep, RetentionError, RetentionPlan,
            RetentionRun, StepKind,
        };

        /// What a purge under a policy would remove now. Counts everything that is expired, so it
        /// takes as long as reading that takes; changes nothing.
        ///
        /// # Errors
        /// [`ReadError`] when the database says no: it takes EXECUTE on `retention_plan`.
        pub $($asyncness)? fn plan_retention<C>(
            conn: &mut C,
            policy: &RetentionPolicy,
        ) -> Result<RetentionPlan, ReadError>
        where
            C: Connection<Backend = Pg>,
        {
            let parts = rows::plan_parts(policy).load::<rows::PartRow>(conn)$(.$await)??;
            let feed = rows::is_feed_behind(policy).get_result::<rows::Answer>(conn)$(.$await)??;
            Ok(rows::plan(policy, parts, feed.answer))
        }

        /// Makes partitions ahead and empties the default partitions, in bounded steps.
        ///
        /// # Errors
        /// [`RetentionError`] when the database says no, or the connection is in a transaction.
        pub $($asyncness)? fn maintain_partitions<C>(
            conn: &mut C,
            options: &PurgeOptions,
        ) -> Result<Maintenance, RetentionError>
        where
            C: Connection<Backend = Pg>,
        {
            refuse_in_transaction(conn)?;
            let mut done = Maintenance::default();
            let mut locked = 0;
            while !options.stop.is_given() {
                let row = rows::maintain(options)
                    .get_result::<rows::MaintenanceRow>(conn)$(.$await)??;
                match row.step.as_str() {
                    "created" => done.created += row.rows,
                    "moved" => {
                        done.moved += row.rows;
                        $rest(options.pause)$(.$await)?;
                    }
                    "exchanged" => {}
                    "locked" if locked < options.lock_attempts => {
                        locked += 1;
                        $rest(options.rest_after_lock())$(.$await)?;
                    }
                    "done" => return Ok(done),
                    _ => break,
                }
            }
            done.unfinished = true;
            Ok(done)
        }

        /// Puts the partitions in order, then removes what is expired under a policy.
        ///
        /// # Errors
        /// [`RetentionError`] when the policy is not enabled, another purge is at work, or
        /// something fails, which is recorded in the run.
        pub $($asyncness)? fn purge<C>(
            conn: &mut C,
            policy: &RetentionPolicy,
            options: &PurgeOptions,
        ) -> Result<PurgeOutcome, RetentionError>
        where
            C: Connection<Backend = Pg>,
        {
            purge_watched(conn, policy, options, &mut |_| ())$(.$await)?
        }

        /// [`purge`], with somebody who is told of every step.
        ///
        /// # Errors
        /// As [`purge`].
        pub $($asyncness)? fn purge_watched<C>(
            conn: &mut C,
            policy: &RetentionPolicy,
            options: &PurgeOptions,
            watcher: &mut (dyn FnMut(&PurgeStep) + Send),
        ) -> Result<PurgeOutcome, RetentionError>
        where
            C: Connection<Backend = Pg>,
        {
            let purged = try_to_purge(conn, policy, options, watcher)$(.$await)?;
            match &purged {
                Err(error) if error.is_worth_an_event() => {
                    telemetry::retention_failed(error.kind());
                }
                _ => {}
            }
            purged
        }

        $($asyncness)? fn try_to_purge<C>(
            conn: &mut C,
            policy: &RetentionPolicy,
            options: &PurgeOptions,
            watcher: &mut (dyn FnMut(&PurgeStep) + Send),
        ) -> Result<PurgeOutcome, RetentionError>
        where
            C: Connection<Backend = Pg>,
        {
            refuse_in_transaction(conn)?;
            if !policy.is_enabled() {
                return Err(RetentionError::Disabled);
            }
            let maintenance = maintain_partitions(conn, options)$(.$await)??;
            let id = rows::begin(policy, options).get_result::<rows::Begun>(conn)$(.$await)??.run()?;
            telemetry::retention_started(id);
            let mut steps = 0;
            loop {
                if options.is_enough(steps) {
                    rows::end(id, "stopped", None).get_result::<rows::Answer>(conn)$(.$await)??;
                    break;
                }
                match take_step(conn, id, options)$(.$await)? {
                    Ok(None) => break,
                    Ok(Some(step)) => {
                        watcher(&step);
                        steps += 1;
                        let rest = match step.kind {
                            StepKind::Locked => options.rest_after_lock(),
                            _ => options.pause,
                        };
                        $rest(rest)$(.$await)?;
                    }
                    Err(error) => {
                        // What failed outside of a step is recorded here, if the connection
                        // still works; otherwise the next run finds it abandoned.
                        let _ = rows::end(id, "failed", Some(error.kind()))
                            .get_result::<rows::Answer>(conn)$(.$await)?;
                        return Err(error);
                    }
                }
            }
            let run = rows::run(id).get_result::<rows::RunRow>(conn)$(.$await)??;
            let run = RetentionRun::try_from(run)?;
            telemetry::retention_finished(
                id, run.state.as_str(), run.changes, run.transactions, run.actions, run.partitions,
            );
            Ok(PurgeOutcome { maintenance, run })
        }

        $($asyncness)? fn take_step<C>(
            conn: &mut C,
            run: i64,
            options: &PurgeOptions,
        ) -> Result<Option<PurgeStep>, RetentionError>
        where
            C: Connection<Backend = Pg>,
        {
            let row = rows::step(run, options).get_result::<rows::StepRow>(conn)$(.$await)??;
            let done = row.done(run)?;
            if let Some(step) = &done {
                telemetry::retention_step(
                    run, step.kind.as_str(), step.changes, step.transactions, step.actions,
                );
            }
            Ok(done)
        }

        /// The newest runs, newest first.
        ///
        /// # Errors
        /// [`RetentionError`] when the database says no.
        pub $($asyncness)? fn retention_runs<C>(
            conn: &mut C,
            most: u32,
        ) -> Result<Vec<RetentionRun>, RetentionError>
        where
            C: Connection<Backend = Pg>,
        {
            let found = rows::newest_runs(most).load::<rows::RunRow>(conn)$(.$await)??;
            let runs = found.into_iter().map(RetentionRun::try_from);
            Ok(runs.collect::<Result<_, _>>()?)
        }

        /// From when on the trail of a table is complete: the last purge's cut-off, or its first
        /// change. None where nothing was ever captured.
        ///
        /// # Errors
        /// [`ReadError`] when the database says no.
        pub $($asyncness)? fn audit_horizon<C>(
            conn: &mut C,
            table: &TableName,
        ) -> Result<Option<DateTime<Utc>>, ReadError>
        where
            C: Connection<Backend = Pg>,
        {
            let row = rows::horizon(table).get_result::<rows::Instant>(conn)$(.$await)??;
            Ok(row.instant)
        }

        /// Steps are committed one by one, which the caller's transaction would prevent.
        fn refuse_in_transaction<C>(conn: &mut C) -> Result<(), RetentionError>
        where
            C: Connection<Backend = Pg>,
        {
            let status = <C::TransactionManager as Manager<C>>::transaction_manager_status_mut(conn);
            match status.transaction_depth()? {
                None => Ok(()),
                Some(_) => Err(RetentionError::InTransaction),
            }
        }
    };
}

pub(crate) use retention_calls;
