//! `history`: the changes of one row, or when a field of it came to a value.

use threadline_diesel::history::row_timeline;
use threadline_diesel::moments::{HasMoments, row_moment};
use threadline_diesel::terms::FieldValue;

use super::timeline::answer;
use crate::cli::HistoryArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};

pub(crate) async fn run(args: HistoryArgs) -> Result<Answer, Failure> {
    let question = match args.field {
        None => row_timeline(args.table.clone(), &args.key),
        Some(field) => {
            let mut moment = row_moment(args.table.clone(), &args.key).field(field);
            if let Some(value) = &args.became {
                let value = FieldValue::typed(value);
                moment = moment.became(value.map_err(|wrong| Failure::usage(wrong.to_string()))?);
            }
            moment.timeline()
        }
    };
    let mut conn = connect(&args.database).await?;
    answer(
        &mut conn,
        &question,
        Some(&args.table),
        &args.page,
        &args.output,
    )
    .await
}
