//! `evidence`: runs checks of the audit system, and shows recorded results and what they prove.

use chrono::Utc;
use clap::{Args, Subcommand};
use diesel_async::AsyncPgConnection;
use threadline_core::actor::ActorRef;
use threadline_core::instant::InstantInput;
use threadline_diesel::coverage::Coverage;
use threadline_diesel::evidence::{
    Check, CheckOptions, CheckRun, DueState, Evidence, EvidenceDocumentQuery, EvidenceError,
    EvidenceHistory, EvidencePlan, EvidenceSubject, Outcome, Verdict, due_checks,
    evidence_document, record_check_result, run_check,
};

use threadline_export::seal::add_seals;

use super::page::{PageRequest, load_page};
use crate::args::{DatabaseArgs, ListOutputArgs, OutputArgs, PageArgs, WindowArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::host::Host;
use crate::output::evidence::{show_document, show_evidence, show_runs, show_schedules};
use crate::output::json::print_json;
use crate::output::page::print_page;
use crate::output::text::{print_block, print_note};
use crate::settings::resolve_instant;

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Run checks and record their results; exit 1 if one does not pass.
    Run(RunArgs),
    /// Show the newest evidence about each object, and what it proves; exit 1 if a verdict is unsupported.
    Show(ShowArgs),
    /// Show all evidence, newest first.
    History(HistoryArgs),
    /// Print the evidence of a window as a JSON document for an auditor.
    Document(DocumentArgs),
    /// Show when the checks of the plan ran last; exit 1 if one is overdue.
    Due(DueArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The checks: coverage, policy, retention, roles, continuity. By default those of the plan in the code;
    /// without a plan those that need no option.
    #[arg(value_name = "CHECK")]
    checks: Vec<Check>,
    /// Only checks of the plan that are due.
    #[arg(long, conflicts_with = "checks")]
    due: bool,
    /// A login role of the application, for the checks coverage and roles.
    #[arg(long, value_name = "ROLE")]
    application_role: Vec<String>,
    /// The actor that asks for the checks: `user:42`.
    #[arg(long)]
    actor: Option<ActorRef>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SubjectArgs {
    /// Only evidence about this subject: `trigger_coverage`.
    #[arg(long)]
    subject: Option<EvidenceSubject>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DocumentArgs {
    /// The start of the window: `2026-01-01`.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    from: InstantInput,
    /// The end of the window.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    to: InstantInput,
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DueArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(host: Host, command: EvidenceCommand) -> Result<Answer, Failure> {
    match command {
        EvidenceCommand::Run(args) => run_checks(host, args).await,
        EvidenceCommand::Show(args) => show(args).await,
        EvidenceCommand::History(args) => history(args).await,
        EvidenceCommand::Document(args) => document(host, args).await,
        EvidenceCommand::Due(args) => due(host, args).await,
    }
}

/// The plan of the code, if there is one.
fn build_plan(host: Host) -> Result<Option<EvidencePlan>, Failure> {
    let plan = host.evidence_plan.map(|build| build()).transpose();
    plan.map_err(|error| Failure::usage(format!("cannot build the plan of checks: {error:#}")))
}

/// The plan of the code, or else one without checks.
pub(super) fn plan_or_default(host: Host) -> Result<EvidencePlan, Failure> {
    match build_plan(host)? {
        Some(plan) => Ok(plan),
        None => default_plan(host),
    }
}

fn require_plan(host: Host) -> Result<EvidencePlan, Failure> {
    build_plan(host)?.ok_or_else(|| {
        Failure::usage(
            "there is no plan of checks: name the function of the code in \
             xtask!(my_app; evidence_plan: my_app::evidence_plan)",
        )
    })
}

/// A plan without checks, with what the host declares.
fn default_plan(host: Host) -> Result<EvidencePlan, Failure> {
    let coverage = Coverage::registered().map_err(EvidenceError::from)?;
    let coverage = host
        .expected_gaps
        .iter()
        .copied()
        .try_fold(coverage, Coverage::expecting)
        .map_err(EvidenceError::from)?;
    let mut options = CheckOptions::registered()?.coverage(coverage);
    if let Some(policy) = host.retention {
        options = options.retention(policy().map_err(Failure::usage)?);
    }
    Ok(EvidencePlan::new(options))
}

async fn run_checks(host: Host, args: RunArgs) -> Result<Answer, Failure> {
    let plan = build_plan(host)?;
    if args.due && plan.is_none() {
        require_plan(host)?;
    }
    let mut conn = connect(&args.database).await?;
    let checks = match &plan {
        _ if !args.checks.is_empty() => args.checks.clone(),
        Some(plan) if args.due => select_due(&mut conn, plan).await?,
        Some(plan) => plan.checks().map(|(check, _)| check).collect(),
        None => {
            let mut checks = vec![Check::Coverage, Check::Policy, Check::Continuity];
            checks.extend(host.retention.map(|_| Check::Retention));
            checks.extend((!args.application_role.is_empty()).then_some(Check::Roles));
            checks
        }
    };
    let plan = match plan {
        Some(plan) => plan,
        None => default_plan(host)?,
    };
    let mut runs = Vec::new();
    for check in checks {
        let mut options = plan.options(check);
        for role in &args.application_role {
            options = options.application_role(role);
        }
        if let Some(actor) = &args.actor {
            options = options.actor(actor.clone());
        }
        runs.push(run_and_record(&mut conn, &args.database, check, &options).await?);
    }
    if args.output.json {
        print_json(&runs)?;
    } else {
        print_block(&show_runs(&runs))?;
    }
    let passed = runs.iter().all(|run| run.result.outcome() == Outcome::Pass);
    match runs.into_iter().find_map(|run| run.error) {
        Some(error) => Err(error.into()),
        None => Ok(Answer::fine_if(passed)),
    }
}

/// Runs and records a check. If the connection was lost, records on a new one that the check did not run to its end.
async fn run_and_record(
    conn: &mut AsyncPgConnection,
    database: &DatabaseArgs,
    check: Check,
    options: &CheckOptions,
) -> Result<CheckRun, Failure> {
    let run = transaction(conn, async |conn| run_check(conn, check, options).await).await;
    let (result, source) = match run {
        Ok(run) => return Ok(run),
        Err(EvidenceError::NotRecorded { result, source, .. }) => (result, source),
        Err(error) => return Err(error.into()),
    };
    if result.outcome() == Outcome::Incomplete {
        read(database, async |conn| {
            Ok(record_check_result(conn, &result).await?)
        })
        .await?;
        print_note(&format!(
            "recorded: the check {check} did not run to its end"
        ));
    }
    Err(Failure::from(*source))
}

async fn select_due(
    conn: &mut AsyncPgConnection,
    plan: &EvidencePlan,
) -> Result<Vec<Check>, Failure> {
    let schedules = transaction(conn, async |conn| due_checks(conn, plan).await).await?;
    let due = schedules
        .iter()
        .filter(|schedule| schedule.state != DueState::Current);
    Ok(due.map(|schedule| schedule.check).collect())
}

async fn show(args: ShowArgs) -> Result<Answer, Failure> {
    let mut query = EvidenceDocumentQuery::latest();
    if let Some(subject) = args.subject.subject {
        query = query.subject(subject);
    }
    let document = read(&args.database, async |conn| {
        Ok(evidence_document(conn, &query).await?)
    })
    .await?;
    if args.output.json {
        print_json(&document)?;
    } else {
        print_block(&show_document(&document))?;
    }
    let status = document.content.claim_assessment.assessment.status;
    Ok(Answer::fine_if(status != Verdict::Unsupported))
}

async fn history(args: HistoryArgs) -> Result<Answer, Failure> {
    let format = args.output.format();
    let request = PageRequest::new(&args.page, format)?;
    let window = args.window.resolve()?;
    let mut query = EvidenceHistory::new();
    if let Some(subject) = &args.subject.subject {
        query = query.subject(subject);
    }
    if let Some(from) = window.from {
        query = query.from(from);
    }
    if let Some(to) = window.to {
        query = query.to(to);
    }
    let now = Utc::now();
    let show =
        |entries: &[Evidence]| show_evidence(entries.iter().map(|one| (one, one.assess(now))));
    let page = read(&args.database, async |conn| {
        load_page(conn, &query, &request, show).await
    })
    .await?;
    print_page::<_, &Evidence>(
        &page,
        format,
        "there is no evidence",
        &window.repeating_options(),
        show,
    )?;
    Ok(Answer::Fine)
}

async fn document(host: Host, args: DocumentArgs) -> Result<Answer, Failure> {
    let from = resolve_instant("--from", &args.from)?;
    let to = resolve_instant("--to", &args.to)?;
    let mut query = EvidenceDocumentQuery::history(from, to);
    if let Some(subject) = args.subject.subject {
        query = query.subject(subject);
    }
    if let Some(plan) = build_plan(host)? {
        query = query.plan(&plan);
    }
    let document = read(&args.database, async |conn| {
        let mut document = evidence_document(conn, &query).await?;
        add_seals(conn, &mut document)
            .await
            .map_err(anyhow::Error::from)?;
        Ok(document)
    })
    .await?;
    print_json(&document)?;
    Ok(Answer::Fine)
}

async fn due(host: Host, args: DueArgs) -> Result<Answer, Failure> {
    let plan = require_plan(host)?;
    let schedules = read(&args.database, async |conn| {
        Ok(due_checks(conn, &plan).await?)
    })
    .await?;
    if args.output.json {
        print_json(&schedules)?;
    } else {
        print_block(&show_schedules(&schedules))?;
    }
    let is_overdue = schedules
        .iter()
        .any(|schedule| schedule.state == DueState::Overdue);
    Ok(Answer::fine_if(!is_overdue))
}
