//! Executes coverage checks and reads deployed policies.

use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use super::Coverage;
use super::deployed::{Deployed, Facts};
use super::error::CoverageError;
use super::functions::captured;
use super::queries::{
    self, Access, ColumnsRow, FINDINGS, FoundRow, FunctionRow, HostTable, NameRow, VersionRow,
};
use super::report::CoverageReport;
use crate::policy::DeployedPolicy;

/// Checks which tables are captured, and reports findings. Reads the catalog and a bounded number of
/// recent records; writes nothing. What the connected role may not read is a finding, too.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::coverage;
/// use threadline_diesel::coverage::Coverage;
///
/// let report = coverage(conn, &Coverage::registered()?).await?;
/// for finding in &report.findings {
///     println!("{:?}: {}", finding.severity, finding.explanation);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`CoverageError`] when there is no trail, or the database reports an error.
pub async fn coverage<C>(conn: &mut C, query: &Coverage) -> Result<CoverageReport, CoverageError>
where
    C: AsyncConnection<Backend = Pg>,
{
    begin(conn).await?;
    let facts = read_facts(conn, query).await;
    C::TransactionManager::rollback_transaction(conn).await?;
    Ok(query.report(facts?))
}

/// Reads the deployed capture policies, one for each table.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// let policies = threadline_diesel::deployed_policies(conn).await?;
/// println!("{} tables are captured", policies.len());
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`coverage`].
pub async fn deployed_policies<C>(conn: &mut C) -> Result<Vec<DeployedPolicy>, CoverageError>
where
    C: AsyncConnection<Backend = Pg>,
{
    begin(conn).await?;
    let policies = read_policies(conn).await;
    C::TransactionManager::rollback_transaction(conn).await?;
    policies
}

/// Begins a transaction, or a savepoint, with its own settings. Rolling it back restores them.
async fn begin<C>(conn: &mut C) -> Result<(), CoverageError>
where
    C: AsyncConnection<Backend = Pg>,
{
    C::TransactionManager::begin_transaction(conn).await?;
    queries::pin_settings().execute(conn).await?;
    Ok(())
}

async fn read_policies<C>(conn: &mut C) -> Result<Vec<DeployedPolicy>, CoverageError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut policies = read_deployed(conn).await?.policies;
    let tables = queries::columns(&captured(&policies))
        .load::<ColumnsRow>(conn)
        .await?;
    for table in tables {
        let policy = policies.iter_mut().find(|policy| {
            policy.name.schema() == table.table_schema && policy.name.name() == table.table_name
        });
        if let Some(policy) = policy {
            policy.present_columns = table.columns;
        }
    }
    Ok(policies)
}

async fn read_deployed<C>(conn: &mut C) -> Result<Deployed, CoverageError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let access = queries::access().get_result::<Access>(conn).await?;
    if !access.is_installed {
        return Err(CoverageError::NotInstalled);
    }
    let version = if access.tells_version {
        queries::schema_version().load::<VersionRow>(conn).await?
    } else {
        Vec::new()
    };
    let functions = queries::functions().load::<FunctionRow>(conn).await?;
    Ok(Deployed::new(access, &version, &functions))
}

async fn read_facts<C>(conn: &mut C, query: &Coverage) -> Result<Facts, CoverageError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let deployed = read_deployed(conn).await?;
    let schemas = queries::schemas(query.schemas())
        .load::<NameRow>(conn)
        .await?;
    query.check_schemas(&schemas)?;
    let roles = queries::roles(query.roles()).load::<NameRow>(conn).await?;
    query.check_roles(&roles)?;
    let tables = queries::host_tables().load::<HostTable>(conn).await?;
    let recent = if deployed.access.may_read(&["audit_transactions"]) {
        queries::recent_writers(query.since())
            .load::<NameRow>(conn)
            .await?
    } else {
        Vec::new()
    };
    let parameters = deployed.parameters(query.since(), query.writers(recent));
    let mut found = Vec::new();
    for finding in FINDINGS {
        if deployed.access.may_read(finding.reads) {
            found.extend(
                finding
                    .statement(&parameters)
                    .load::<FoundRow>(conn)
                    .await?,
            );
        }
    }
    Ok(Facts {
        tables,
        found,
        deployed,
    })
}
