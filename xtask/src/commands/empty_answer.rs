//! Explains why an answer is empty.

use diesel_async::AsyncPgConnection;
use threadline_diesel::query::{EmptyQuery, EmptyReason};

use crate::exit::{Answer, Failure};
use crate::output::text::print_note;

/// Explains on standard error why the answer to a query is empty. A table that does not exist and a column
/// that it does not have are wrong usage. A table that is not captured, and a column whose values are not
/// stored, make the answer bad. Other reasons do not.
pub(super) async fn explain_empty(
    conn: &mut AsyncPgConnection,
    query: impl Into<EmptyQuery> + Send,
) -> Result<Answer, Failure> {
    let mut answer = Answer::Fine;
    for reason in threadline_diesel::explain_empty(conn, query).await? {
        let lines = reason.lines();
        match reason {
            EmptyReason::UnknownTable { .. } | EmptyReason::UnknownColumn { .. } => {
                return Err(Failure::usage(lines.join("\n")));
            }
            EmptyReason::NotCaptured { .. }
            | EmptyReason::ExcludedColumn { .. }
            | EmptyReason::MaskedColumn { .. } => answer = Answer::Bad,
            _ => {}
        }
        for line in lines {
            print_note(&line);
        }
    }
    Ok(answer)
}
