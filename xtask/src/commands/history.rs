//! `history`: the changes of one row.

use threadline_diesel::history::row_timeline;

use super::timeline::answer;
use crate::cli::HistoryArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};

pub(crate) async fn run(args: HistoryArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let question = row_timeline(args.table, &args.key);
    answer(&mut conn, question, &args.page, &args.output).await
}
