//! Lists of jobs.

use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;
use threadline_core::actor::ActorRef;
use threadline_diesel::PageSize;
use uuid::Uuid;

use super::error::JobError;
use super::job::{Job, JobKind, JobState};
use super::statements::{self, JobRow, into_jobs};

/// Which jobs are listed; all unless restricted.
///
/// ```
/// use threadline_export::jobs::{JobFilter, JobState};
///
/// let failed = JobFilter::new().state(JobState::Failed).actor("admin:rita".parse()?);
/// # let _ = failed;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    pub(crate) kind: Option<JobKind>,
    pub(crate) state: Option<JobState>,
    pub(crate) actor: Option<ActorRef>,
    pub(crate) schedule: Option<String>,
    pub(crate) scope_key: Option<String>,
    pub(crate) size: PageSize,
    pub(crate) before: Option<Uuid>,
}

impl JobFilter {
    /// All jobs, newest first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only jobs of a kind.
    #[must_use]
    pub fn kind(mut self, kind: JobKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only jobs in a state.
    #[must_use]
    pub fn state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only jobs of an actor.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Only jobs that a schedule enqueued.
    #[must_use]
    pub fn schedule(mut self, name: impl Into<String>) -> Self {
        self.schedule = Some(name.into());
        self
    }

    /// Only jobs with this key of a scope.
    #[must_use]
    pub fn scope_key(mut self, key: impl Into<String>) -> Self {
        self.scope_key = Some(key.into());
        self
    }

    /// The number of jobs of a page; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.size = size;
        self
    }

    /// Only jobs that are older than a job: the next page, from [`JobPage::next`].
    #[must_use]
    pub fn before(mut self, id: Uuid) -> Self {
        self.before = Some(id);
        self
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The position of the next page, for [`JobFilter::before`]; none on the last page.
    pub next: Option<Uuid>,
}

/// Lists jobs, newest first.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_export::jobs::{self, JobFilter};
///
/// for job in jobs::list(conn, &JobFilter::new()).await?.jobs {
///     println!("{} {}", job.id, job.state);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the database reports an error.
pub async fn list<C>(conn: &mut C, filter: &JobFilter) -> Result<JobPage, JobError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let size = usize::try_from(filter.size.get()).unwrap_or(usize::MAX);
    let rows: Vec<JobRow> = statements::list(filter).load(conn).await?;
    let mut jobs = into_jobs(rows)?;
    let has_more = jobs.len() > size;
    jobs.truncate(size);
    let next = jobs.last().filter(|_| has_more).map(|job| job.id);
    Ok(JobPage { jobs, next })
}
