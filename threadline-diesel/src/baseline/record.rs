//! Executes a baseline.

use std::ops::ControlFlow;
use std::time::Instant;

use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};
use serde_json::Value;
use threadline_core::action::{Action, ActionId};
use threadline_core::actor::ActorRef;

use super::statements::{
    Batch, BegunRun, EndedRun, PAUSE, Place, Rows, Source, advance, begin_batch, begin_run,
    end_run, lock_run, record_action, take_over,
};
use super::walk::{KeyPart, KeyWalk, key_parts};
use super::{
    BASELINE_ACTION, Baseline, BaselineError, BaselineOutcome, BaselineProgress, RunState,
};
use crate::captured_table::{CANONICAL_SETTINGS, CapturedTable, captured_tables};
use crate::transaction_state::is_in_transaction;

/// The maximum number of locked rows that a run remembers. A run with more stops: the whole table is locked.
const MAX_LEFT_BEHIND: usize = 100_000;

/// Records rows of a table in batches, each a transaction of its own; so the connection must not be in a
/// transaction. Continues a run that did not finish.
///
/// `on_progress` is called after each batch, and stops the run by [`ControlFlow::Break`]; recorded
/// rows are kept, and the next run continues.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use std::ops::ControlFlow;
///
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::AuditContext;
/// use threadline_diesel::baseline::Baseline;
/// use threadline_diesel::record_baseline;
///
/// let context = AuditContext::new(ActorRef::admin("rita")?);
/// let baseline = Baseline::new("invoices".parse()?, context);
/// let outcome = record_baseline(conn, &baseline, |progress| {
///     println!("{} rows", progress.rows_recorded);
///     ControlFlow::Continue(())
/// })
/// .await?;
/// println!("{:?}", outcome.state);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`BaselineError`] when the context has no actor, the table cannot be recorded, or the database
/// reports an error. Rows recorded by then are kept.
pub async fn record_baseline<C>(
    conn: &mut C,
    baseline: &Baseline,
    mut on_progress: impl FnMut(&BaselineProgress) -> ControlFlow<()>,
) -> Result<BaselineOutcome, BaselineError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let actor = baseline
        .context
        .actor()
        .ok_or(BaselineError::MissingActor)?;
    if is_in_transaction(conn)? {
        return Err(BaselineError::InTransaction);
    }
    let action = match &baseline.action {
        Some(action) => action.clone(),
        None => Action::new(BASELINE_ACTION)
            .map_err(|error| diesel::result::Error::QueryBuilderError(error.into()))?,
    };
    let action_id = ActionId::generate();
    let (source, begun) = begin(conn, baseline, actor, action_id, &action).await?;
    let mut run = Run {
        conn,
        baseline,
        actor,
        action_id,
        source,
        id: begun.id,
        progress: BaselineProgress::default(),
        waiting: Vec::new(),
    };
    let walked = run.walk(&mut on_progress).await;
    let progress = run.progress;
    let ended = end(conn, begun.id).await;
    walked?;
    let ended = ended?.into_iter().next();
    let state = ended.map_or(RunState::Interrupted, |ended| ended.state);
    Ok(BaselineOutcome {
        table: baseline.table.clone(),
        run: begun.id,
        continues: begun.continues,
        state,
        rows_seen: progress.rows_seen,
        rows_recorded: progress.rows_recorded,
        rows_left: progress.rows_left,
    })
}

/// Reads the table's declaration and begins a run.
async fn begin<C>(
    conn: &mut C,
    baseline: &Baseline,
    actor: &ActorRef,
    action_id: ActionId,
    action: &Action,
) -> Result<(Source, BegunRun), BaselineError>
where
    C: AsyncConnection<Backend = Pg>,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let begun = begin_run_of(conn, baseline, actor, action_id, action).await;
    end_transaction(conn, begun).await
}

async fn begin_run_of<C>(
    conn: &mut C,
    baseline: &Baseline,
    actor: &ActorRef,
    action_id: ActionId,
    action: &Action,
) -> Result<(Source, BegunRun), BaselineError>
where
    C: AsyncConnection<Backend = Pg>,
{
    conn.batch_execute(CANONICAL_SETTINGS).await?;
    let source = look_up(conn, baseline).await?;
    record_action(baseline, action_id, action)
        .execute(conn)
        .await?;
    take_over(baseline).execute(conn).await?;
    let begun = begin_run(baseline, actor, action_id, &source.table.key_columns)
        .get_result::<BegunRun>(conn)
        .await?;
    Ok((source, begun))
}

/// Ends a run in a transaction of its own.
async fn end<C>(conn: &mut C, run: i64) -> Result<Vec<EndedRun>, BaselineError>
where
    C: AsyncConnection<Backend = Pg>,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let ended = end_run(run).load(conn).await;
    end_transaction(conn, ended.map_err(BaselineError::from)).await
}

/// Commits a successful transaction, and rolls back a failed one.
async fn end_transaction<C, T>(
    conn: &mut C,
    done: Result<T, BaselineError>,
) -> Result<T, BaselineError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if done.is_ok() {
        C::TransactionManager::commit_transaction(conn).await?;
    } else {
        // The error of the work is more useful than one of the rollback.
        let _ = C::TransactionManager::rollback_transaction(conn).await;
    }
    done
}

/// The table, if its rows can be recorded.
async fn look_up<C>(conn: &mut C, baseline: &Baseline) -> Result<Source, BaselineError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let found: Vec<CapturedTable> = captured_tables(Some(&baseline.table)).load(conn).await?;
    let table = found
        .into_iter()
        .find(|table| table.captured)
        .ok_or_else(|| BaselineError::NotCaptured(baseline.table.clone()))?;
    if !table.has_key() {
        return Err(BaselineError::NoKey(baseline.table.clone()));
    }
    let stored = table.stored_row()?;
    let parts = key_parts(&table).load::<KeyPart>(conn).await?;
    let walk = KeyWalk::new(parts).ok_or_else(|| BaselineError::NoIndex {
        table: baseline.table.clone(),
        key: table.key_columns.join(", "),
    })?;
    Ok(Source {
        table,
        stored,
        walk,
    })
}

/// A running baseline.
struct Run<'a, C> {
    conn: &'a mut C,
    baseline: &'a Baseline,
    actor: &'a ActorRef,
    action_id: ActionId,
    source: Source,
    id: i64,
    progress: BaselineProgress,
    /// Positions of rows that other transactions had locked.
    waiting: Vec<Value>,
}

impl<C> Run<'_, C>
where
    C: AsyncConnection<Backend = Pg>,
{
    /// Reads the table, then tries the rows again that other transactions had locked.
    async fn walk(
        &mut self,
        on_progress: &mut impl FnMut(&BaselineProgress) -> ControlFlow<()>,
    ) -> Result<(), BaselineError> {
        loop {
            let mut batch = self.record(None).await?;
            self.progress.rows_seen += batch.rows_seen;
            self.progress.rows_recorded += batch.rows_recorded;
            let reached_end = is_last(self.baseline, &batch);
            self.waiting.extend(batch.take_left());
            self.count_waiting(0);
            if on_progress(&self.progress).is_break() {
                return Ok(());
            }
            if reached_end || self.waiting.len() > MAX_LEFT_BEHIND {
                break;
            }
        }
        let since = Instant::now();
        while !self.waiting.is_empty() {
            let mut still = Vec::new();
            while !self.waiting.is_empty() {
                let size = usize::try_from(self.baseline.batch_size.0).unwrap_or(usize::MAX);
                let first = self.waiting.len().saturating_sub(size);
                let positions = self.waiting.split_off(first);
                let mut batch = self.record(Some(positions)).await?;
                self.progress.rows_recorded += batch.rows_recorded;
                still.extend(batch.take_left());
                self.count_waiting(still.len());
                if on_progress(&self.progress).is_break() {
                    return Ok(());
                }
            }
            self.waiting = still;
            if since.elapsed() >= self.baseline.lock_timeout {
                break;
            }
            if !self.waiting.is_empty() {
                self.conn.batch_execute(PAUSE).await?;
            }
        }
        Ok(())
    }

    /// Updates the number of skipped rows, `besides` those that are kept elsewhere.
    fn count_waiting(&mut self, besides: usize) {
        self.progress.rows_left = i64::try_from(self.waiting.len() + besides).unwrap_or(i64::MAX);
    }

    /// Records the next rows, or those at positions, in a transaction.
    ///
    /// If that fails, the batch is tried again with the images of capture's fallback: a row may have a value that
    /// `jsonb` cannot represent.
    async fn record(&mut self, at: Option<Vec<Value>>) -> Result<Batch, BaselineError> {
        let image = self.source.stored.image.clone();
        match self.try_record(at.clone(), &image).await {
            Err(BaselineError::Database(error @ diesel::result::Error::DatabaseError(..))) => {
                let image = self.source.fallback_image();
                self.try_record(at, &image).await.map_err(|_| error.into())
            }
            done => done,
        }
    }

    async fn try_record(
        &mut self,
        at: Option<Vec<Value>>,
        image: &str,
    ) -> Result<Batch, BaselineError> {
        C::TransactionManager::begin_transaction(self.conn).await?;
        let done = self.record_in_transaction(at, image).await;
        end_transaction(self.conn, done).await
    }

    async fn record_in_transaction(
        &mut self,
        at: Option<Vec<Value>>,
        image: &str,
    ) -> Result<Batch, BaselineError> {
        self.conn.batch_execute(&begin_batch()).await?;
        let place: Vec<Place> = lock_run(self.baseline, self.actor, self.id, self.action_id)
            .load(self.conn)
            .await?;
        let place = place.into_iter().next();
        let place = place.ok_or(BaselineError::TakenOver(self.id))?;
        let tried = at.as_ref().map_or(0, Vec::len);
        let is_walk = at.is_none();
        let rows = at.map_or(Rows::After(place.last_key), Rows::At);
        let batch = self
            .source
            .batch(self.baseline, self.id, place.first_change, rows, image)
            .get_result::<Batch>(self.conn)
            .await?;
        let reached_end = is_walk.then(|| is_last(self.baseline, &batch));
        advance(self.id, &batch, reached_end, tried)
            .execute(self.conn)
            .await?;
        Ok(batch)
    }
}

/// Whether a batch of the walk is the last.
fn is_last(baseline: &Baseline, batch: &Batch) -> bool {
    batch.rows_seen < i64::from(baseline.batch_size.0)
}
