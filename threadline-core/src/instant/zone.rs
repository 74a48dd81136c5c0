//! Names of time zones.

use chrono_tz::{TZ_VARIANTS, Tz};

/// The least similarity of a suggested name, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.6;

/// How many similar names are suggested.
const SUGGESTIONS: usize = 3;

/// A text is not the name of a time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a time zone; write a name of the IANA database, such as {}", examples.join(", "))]
#[non_exhaustive]
pub struct UnknownTimeZone {
    /// The text.
    pub name: String,
    /// Time zones with similar names; well-known ones if there are none.
    pub examples: Vec<&'static str>,
}

/// Parses a name of the IANA database.
///
/// ```
/// use threadline_core::instant::parse_zone;
///
/// assert_eq!(parse_zone("Europe/Berlin")?.name(), "Europe/Berlin");
/// let wrong = parse_zone("europe/berln").unwrap_err();
/// assert!(wrong.examples.contains(&"Europe/Berlin"));
/// # Ok::<(), threadline_core::instant::UnknownTimeZone>(())
/// ```
///
/// # Errors
/// [`UnknownTimeZone`], with similar names.
pub fn parse_zone(name: &str) -> Result<Tz, UnknownTimeZone> {
    let name = name.trim();
    name.parse().map(normalize).map_err(|_| UnknownTimeZone {
        name: name.to_owned(),
        examples: similar_zones(name),
    })
}

/// The time zone of the environment variable `TZ`: a name of the IANA database, with or without a leading
/// colon or the directory of the system's time zones. UTC if the variable is not set or has another form.
#[must_use]
pub fn zone_from_env(tz: Option<&str>) -> Tz {
    let name = tz.unwrap_or_default();
    let name = name.strip_prefix(':').unwrap_or(name);
    let name = name
        .rsplit_once("/zoneinfo/")
        .map_or(name, |(_, name)| name);
    parse_zone(name).unwrap_or(Tz::UTC)
}

/// [`Tz::UTC`] for all names of UTC.
fn normalize(zone: Tz) -> Tz {
    let last = zone.name().rsplit('/').next();
    match last {
        Some("UTC" | "UCT" | "Universal" | "Zulu") => Tz::UTC,
        _ => zone,
    }
}

/// Names that are similar to a text, or whose last part is.
fn similar_zones(text: &str) -> Vec<&'static str> {
    let text = text.to_ascii_lowercase();
    let similarity = |name: &str| {
        let name = name.to_ascii_lowercase();
        let city = name.rsplit('/').next().unwrap_or(&name);
        let whole = strsim::normalized_damerau_levenshtein(&text, &name);
        whole.max(strsim::normalized_damerau_levenshtein(&text, city))
    };
    let mut similar: Vec<_> = TZ_VARIANTS
        .iter()
        .map(|zone| (similarity(zone.name()), zone.name()))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .collect();
    similar.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    if similar.is_empty() {
        return vec!["Europe/Berlin", "America/New_York", "UTC"];
    }
    let names = similar.into_iter().map(|(_, name)| name);
    names.take(SUGGESTIONS).collect()
}
