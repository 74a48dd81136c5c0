//! Instants: in the zone of the operator, with UTC beside.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

use crate::request::GrantedRequest;

/// An instant in the zone of the operator; UTC follows, unless that is the zone.
pub(crate) fn instant(request: &GrantedRequest, instant: DateTime<Utc>) -> Markup {
    let zone = request.zone();
    let local = instant.with_timezone(&zone);
    html! {
        time.instant datetime=(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)) {
            @if zone == chrono_tz::Tz::UTC {
                (instant.format("%Y-%m-%d %H:%M:%SZ"))
            } @else {
                (local.format("%Y-%m-%d %H:%M:%S %:z"))
                " "
                span.utc { (instant.format("%H:%M:%SZ")) }
            }
        }
    }
}

/// A time in its largest unit.
pub(crate) fn age(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
