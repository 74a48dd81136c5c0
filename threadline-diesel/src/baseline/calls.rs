//! Running baselines, on sync and on async connections: one body, expanded twice.

/// The functions that record baselines and say what they would do, on connections of a kind.
macro_rules! baseline_calls {
    ($connection:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use std::ops::ControlFlow;
        use std::time::Instant;

        use diesel::pg::Pg;
        use $dsl;

        use super::{
            Baseline, BaselineError, BaselineOutcome, BaselineProgress, Batch, BegunRun, EndedRun,
            PAUSE, RunState, UnderWay, end,
        };
        use crate::continuity::{
            Continuity, ContinuityRow, Counting, RowCounts, TableContinuity, row_counts,
        };
        use crate::error::ReadError;

        /// Since when captured tables are known, and how many of their rows are older.
        ///
        /// Counting reads whole tables. It takes the right to execute `continuity` and
        /// `count_unknown_rows`, which is the trail's owner's until it is granted.
        ///
        /// # Errors
        /// [`ReadError`] when the database says no.
        pub $($asyncness)? fn continuity<C>(
            conn: &mut C,
            question: &Continuity,
        ) -> Result<Vec<TableContinuity>, ReadError>
        where
            C: $connection,
        {
            let found = question.query().load::<ContinuityRow>(conn)$(.$await)??;
            let mut tables = Vec::with_capacity(found.len());
            for row in found {
                let rows = if question.counting == Counting::Rows && row.is_countable() {
                    let counts = row_counts(&row.table());
                    Some(counts.get_result::<RowCounts>(conn)$(.$await)??)
                } else {
                    None
                };
                tables.push(row.with(rows));
            }
            Ok(tables)
        }

        /// Records rows of a table as they are, in batches, each a transaction of its own; so the
        /// connection must not be in one. Goes on where a run that did not finish left off.
        ///
        /// `on_progress` is called after each batch, and stops the run by
        /// [`ControlFlow::Break`]; what was recorded stays, and the next run goes on.
        ///
        /// It takes the right to execute `begin_baseline`, `baseline_batch`, `end_baseline` and
        /// `continuity`, which is the trail's owner's until it is granted.
        ///
        /// # Errors
        /// [`BaselineError`] when nobody is named, the table cannot be recorded, or the database
        /// says no. What was recorded by then stays.
        pub $($asyncness)? fn record_baseline<C>(
            conn: &mut C,
            baseline: &Baseline,
            mut on_progress: impl FnMut(&BaselineProgress) -> ControlFlow<()>,
        ) -> Result<BaselineOutcome, BaselineError>
        where
            C: $connection,
        {
            check(conn, baseline)$(.$await)??;
            let begun = baseline.begin()?.get_result::<BegunRun>(conn)$(.$await)??;
            let mut run = UnderWay::new(begun);
            let walked = walk(conn, baseline, &mut run, &mut on_progress)$(.$await)?;
            let ended = end(run.run.run).get_result::<EndedRun>(conn)$(.$await)?;
            walked?;
            let state = ended?.state.unwrap_or(RunState::Interrupted);
            Ok(run.outcome(&baseline.table, state))
        }

        /// Refuses what cannot be recorded, in words of its own.
        $($asyncness)? fn check<C>(conn: &mut C, baseline: &Baseline) -> Result<(), BaselineError>
        where
            C: $connection,
        {
            let question = Continuity::new().table(baseline.table.clone());
            let found = question.query().load::<ContinuityRow>(conn)$(.$await)??;
            match found.into_iter().next().map(|row| row.with(None)) {
                Some(table) if table.captured && table.has_key => Ok(()),
                Some(table) if table.captured => Err(BaselineError::NoKey(table.table)),
                _ => Err(BaselineError::NotCaptured(baseline.table.clone())),
            }
        }

        /// Goes through the table, then tries again what others had locked.
        $($asyncness)? fn walk<C>(
            conn: &mut C,
            baseline: &Baseline,
            run: &mut UnderWay,
            on_progress: &mut impl FnMut(&BaselineProgress) -> ControlFlow<()>,
        ) -> Result<(), BaselineError>
        where
            C: $connection,
        {
            loop {
                let next = baseline.batch(run.run.run, None);
                let goes_on = run.walked(next.get_result::<Batch>(conn)$(.$await)??);
                if on_progress(&run.progress).is_break() {
                    return Ok(());
                }
                if !goes_on {
                    break;
                }
            }
            let since = Instant::now();
            while !run.waiting.is_empty() {
                let mut still = Vec::new();
                while !run.waiting.is_empty() {
                    let keys = run.next_waiting(baseline.batch_size);
                    let again = baseline.batch(run.run.run, Some(keys.into()));
                    let tried = again.get_result::<Batch>(conn)$(.$await)??;
                    let left = run.tried(tried, still.len());
                    still.extend(left);
                    if on_progress(&run.progress).is_break() {
                        return Ok(());
                    }
                }
                run.waiting = still;
                if run.waiting.is_empty() || since.elapsed() >= baseline.patience {
                    break;
                }
                diesel::sql_query(PAUSE).execute(conn)$(.$await)??;
            }
            Ok(())
        }
    };
}

pub(crate) use baseline_calls;
