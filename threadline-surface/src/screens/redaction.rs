//! Redaction: the rule of every column, as declared in the code and as deployed. It reads no values.

mod columns;

use maud::{Markup, html};
use threadline_core::table::TableName;
use threadline_diesel::deployed_policies;
use threadline_diesel::policy::{
    DeployedPolicy, PolicyReport, PolicySources, PolicyStatus, TablePolicy,
};

use self::columns::column_table;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::code::command_block;
use crate::view::states::empty_state;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let table = parameters.value::<TableName>("table");
    parameters.finish()?;
    let deployed = deployed_policies(context.conn).await?;
    let declared = &request.settings.tables;
    let mut sources = PolicySources::deployed(deployed.clone());
    if !declared.is_empty() {
        sources = sources.declared(declared.clone());
    }
    let mut report = sources.compare();
    if let Some(table) = &table {
        report.tables.retain(|one| &one.table == table);
    }
    if request.wants_json() {
        return Screen::json(&report);
    }
    let body = html! {
        (headline(request, &report))
        @if report.tables.is_empty() {
            (empty(request, table.as_ref()))
        }
        @for one in sorted(&report) {
            @let policy = deployed.iter().find(|policy| policy.name == one.table);
            (table_section(request, one, policy))
        }
    };
    let title = match &table {
        Some(table) => format!("Redaction of {table}"),
        None => "Redaction".to_owned(),
    };
    Ok(Page::new(title, body).terminal(terminal()).into())
}

fn terminal() -> Terminal {
    Terminal::command(["policy"])
        .sql("SELECT table_schema, table_name, policy FROM threadline.deployed_policies;")
        .rust("PolicySources::deployed(threadline::deployed_policies(&mut conn).await?).declared(tables).compare()")
}

/// The verdict of the page on a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Differs,
    CannotTell,
    Matches,
}

impl Verdict {
    /// Without migrations, the console does not know the declaration of a table that the code does not name.
    fn of(table: &TablePolicy) -> Self {
        match table.status {
            PolicyStatus::CannotTell => Self::CannotTell,
            _ if table.declared.is_none() => Self::CannotTell,
            PolicyStatus::Matches => Self::Matches,
            _ => Self::Differs,
        }
    }

    fn badge(self) -> Markup {
        let (is_error, is_warning) = (self == Self::Differs, self == Self::CannotTell);
        html! { span.badge.error[is_error].warning[is_warning] { (self.as_str()) } }
    }

    /// The number of tables with the verdict. Without any it is no warning.
    fn counted(self, count: usize) -> Markup {
        html! {
            @if count == 0 { span.badge { (self.as_str()) } } @else { (self.badge()) }
            " " (count)
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Differs => "differs",
            Self::CannotTell => "cannot tell",
            Self::Matches => "matches",
        }
    }
}

/// The tables: those that differ first.
fn sorted(report: &PolicyReport) -> Vec<&TablePolicy> {
    let mut tables: Vec<_> = report.tables.iter().collect();
    tables.sort_by_key(|table| Verdict::of(table));
    tables
}

fn headline(request: &GrantedRequest, report: &PolicyReport) -> Markup {
    let counted = |verdict: Verdict| {
        let tables = report.tables.iter();
        verdict.counted(tables.filter(|table| Verdict::of(table) == verdict).count())
    };
    html! {
        p.headline {
            (counted(Verdict::Differs)) " · " (counted(Verdict::CannotTell)) " · " (counted(Verdict::Matches))
        }
        @if request.settings.tables.is_empty() {
            p.note { "This console knows no declarations of the code, so it shows the deployed rules only." }
        } @else {
            p.note {
                "Declared: the tables of the application's code. Deployed: the capture functions in the database. "
                "The migrations on disk are compared by the command below."
            }
        }
    }
}

fn empty(request: &GrantedRequest, table: Option<&TableName>) -> Markup {
    if let Some(table) = table {
        let advice = html! {
            p { bdi { (table) } " is neither declared nor captured." }
            p { a href=(request.href("/redaction")) { "All tables" } }
        };
        return empty_state("Nothing is known of this table", &advice);
    }
    let advice = html! {
        p { "Derive " code { "Audited" } " on a model, or name a table:" }
        (command_block(["gen-triggers", "--tables", "my_table"]))
    };
    empty_state("No table is captured", &advice)
}

fn table_section(
    request: &GrantedRequest,
    table: &TablePolicy,
    deployed: Option<&DeployedPolicy>,
) -> Markup {
    let verdict = Verdict::of(table);
    let unclassified = deployed.map(unclassified).unwrap_or_default();
    html! {
        section {
            h2 { a href=(request.href("/redaction").with("table", &table.table)) { bdi { (table.table) } } " " (verdict.badge()) }
            @if verdict != Verdict::Matches { (notes(request, table)) }
            (column_table(&table.table, &table.columns, &unclassified))
            @if let Some(policy) = deployed {
                @if let Ok(declared) = &policy.declared {
                    p.note {
                        "Masked values are stored as " code { bdi { (declared.mask_with()) } } ". "
                        "Key: " bdi { (declared.key().columns().join(", ")) } "."
                    }
                }
            }
        }
    }
}

fn notes(request: &GrantedRequest, table: &TablePolicy) -> Markup {
    let is_undeclared = table.declared.is_none() && !request.settings.tables.is_empty();
    // The headline says this of all tables.
    let is_new = |note: &&String| !note.contains("not compared");
    html! {
        @if is_undeclared {
            p { "The code does not declare it. If a migration does, the command below compares it." }
        } @else {
            ul {
                @for difference in &table.differences { li { bdi { (difference) } } }
                @for note in table.notes.iter().filter(is_new) { li { bdi { (note) } } }
            }
        }
    }
}

/// The columns of the table that the deployed policy does not name.
fn unclassified(policy: &DeployedPolicy) -> Vec<&str> {
    let Ok(declared) = &policy.declared else {
        return Vec::new();
    };
    let is_known = |name: &&String| {
        let mut columns = declared.columns().iter();
        !columns.any(|column| &&column.name == name)
    };
    let present = policy.present_columns.iter();
    present.filter(is_known).map(String::as_str).collect()
}
