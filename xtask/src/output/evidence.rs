//! Evidence on a terminal.

use threadline_diesel::evidence::{
    Assessment, CheckRun, CheckSchedule, Evidence, EvidenceDocument, Verdict,
};

use super::list::{Color, Column, ListEntry, Text, show_list, show_table};
use super::table::{instant_cells, instant_columns, instant_head};
use super::text::{escape, show_instant};

/// The most characters of a cell with stored text.
const MAX_CHARS: usize = 60;

/// Results of checks that ran.
pub(crate) fn show_runs(runs: &[CheckRun]) -> String {
    if runs.is_empty() {
        return "no check is due".to_owned();
    }
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            [
                run.check.to_string(),
                escape(run.result.summary_status()),
                run.order_id.to_string(),
            ]
        })
        .collect();
    show_table(["check", "outcome", "evidence"], &rows)
}

/// When checks ran last, and whether they are due.
pub(crate) fn show_schedules(schedules: &[CheckSchedule]) -> String {
    let instant = |instant: Option<_>| instant.map_or_else(|| "never".to_owned(), show_instant);
    let rows: Vec<_> = schedules
        .iter()
        .map(|schedule| {
            [
                schedule.check.to_string(),
                schedule.state.as_str().to_owned(),
                instant(schedule.last_run_at),
                schedule
                    .due_at
                    .map_or_else(|| "now".to_owned(), show_instant),
            ]
        })
        .collect();
    show_table(["check", "state", "last run (UTC)", "due (UTC)"], &rows)
}

/// The records of a document, and its verdict.
pub(crate) fn show_document(document: &EvidenceDocument) -> String {
    let records = document.content.records.iter();
    let records = records.map(|record| (&record.evidence, record.claim_assessment));
    let assessment = document.content.claim_assessment.assessment;
    format!(
        "{}\n\nverdict: {} ({})",
        show_evidence(records),
        assessment.status.as_str(),
        assessment.reason.as_str()
    )
}

/// Records with their verdicts.
pub(crate) fn show_evidence<'a>(
    records: impl Iterator<Item = (&'a Evidence, Assessment)>,
) -> String {
    let mut columns = instant_columns("recorded");
    columns.extend(["subject", "verdict", "reason", "status", "basis"].map(Column::whole));
    columns.push(Column::wrapped("about"));
    let entries: Vec<_> = records
        .map(|(evidence, assessed)| entry(evidence, assessed))
        .collect();
    show_list(&columns, &entries)
}

fn entry(evidence: &Evidence, assessed: Assessment) -> ListEntry {
    let color = match assessed.status {
        Verdict::Proven => Color::Green,
        Verdict::InferredPosture => Color::Yellow,
        _ => Color::Red,
    };
    let verdict = Text::colored(assessed.status.as_str(), color);
    let about = cut(evidence.subject_ref.as_str());
    let subject = escape(evidence.subject.as_str());
    let status = cut(&evidence.summary_status);
    let mut row = instant_cells(evidence.recorded_at);
    row.extend([
        subject.clone().into(),
        verdict.clone(),
        assessed.reason.as_str().into(),
        status.clone().into(),
        evidence.basis.as_str().into(),
        about.clone().into(),
    ]);
    ListEntry {
        rows: vec![row],
        head: vec![instant_head(evidence.recorded_at), subject.into(), verdict],
        details: vec![
            format!("reason: {}", assessed.reason.as_str()),
            format!("status: {status}, {}", evidence.basis.as_str()),
            format!("about: {about}"),
        ],
    }
}

/// The start of a stored text, escaped.
fn cut(text: &str) -> String {
    let start: String = text.chars().take(MAX_CHARS).collect();
    escape(&start)
}
