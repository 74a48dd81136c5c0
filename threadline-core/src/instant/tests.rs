use chrono::Timelike;
use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn resolve(text: &str, zone: &str) -> Result<String, String> {
    let now = utc("2026-11-21T12:34:56Z");
    let input: InstantInput = text
        .parse()
        .map_err(|wrong: InvalidInstant| wrong.to_string())?;
    input
        .resolve(now, parse_zone(zone).unwrap())
        .map(|instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .map_err(|wrong| wrong.to_string())
}

fn instant(text: &str, zone: &str) -> String {
    resolve(text, zone).unwrap()
}

#[test]
fn instants_with_an_offset_do_not_depend_on_the_zone() {
    for text in [
        "2026-11-21T02:30:00Z",
        "2026-11-21 02:30:00 UTC",
        "2026-11-21 02:30:00.000000 UTC",
        "2026-11-21 02:30:00+00",
        "2026-11-21 04:30:00+02",
        "2026-11-21T04:30:00+02:00",
        "2026-11-20 21:00-05:30",
        "2026-11-21T02:30Z",
        "2026-11-21 02:30 UTC",
        " 2026-11-21 02:30z",
    ] {
        for zone in ["UTC", "Asia/Kolkata"] {
            assert_eq!(instant(text, zone), "2026-11-21T02:30:00Z", "{text}");
        }
    }
    assert_eq!(
        instant("2026-11-21 02:30:00.25Z", "UTC"),
        "2026-11-21T02:30:00.250Z"
    );
}

#[test]
fn local_times_and_dates_are_in_the_zone() {
    for (text, zone, expected) in [
        ("2026-11-20 03:00", "Europe/Berlin", "2026-11-20T02:00:00Z"),
        (
            "2026-07-20T03:00:05",
            "Europe/Berlin",
            "2026-07-20T01:00:05Z",
        ),
        ("2026-11-20 03:00", "UTC", "2026-11-20T03:00:00Z"),
        ("2026-11-20", "America/New_York", "2026-11-20T05:00:00Z"),
        ("2026-11-20", "Pacific/Auckland", "2026-11-19T11:00:00Z"),
    ] {
        assert_eq!(instant(text, zone), expected, "{text} in {zone}");
    }
}

#[test]
fn relative_instants_are_before_now() {
    for (text, expected) in [
        ("now", "2026-11-21T12:34:56Z"),
        ("NOW", "2026-11-21T12:34:56Z"),
        ("90s", "2026-11-21T12:33:26Z"),
        ("-15m", "2026-11-21T12:19:56Z"),
        ("2h", "2026-11-21T10:34:56Z"),
        ("7d", "2026-11-14T12:34:56Z"),
        ("3w", "2026-10-31T12:34:56Z"),
        ("0m", "2026-11-21T12:34:56Z"),
        ("today", "2026-11-21T00:00:00Z"),
        ("Yesterday", "2026-11-20T00:00:00Z"),
    ] {
        assert_eq!(instant(text, "UTC"), expected, "{text}");
        assert!(
            text.parse::<InstantInput>().unwrap().is_relative(),
            "{text}"
        );
    }
    // It is the 22nd already.
    assert_eq!(
        instant("today", "Pacific/Kiritimati"),
        "2026-11-21T10:00:00Z"
    );
    assert!(!"2026-11-20".parse::<InstantInput>().unwrap().is_relative());
}

#[test]
fn other_texts_are_errors_that_show_the_forms() {
    for text in [
        "",
        "12:00",
        "2026-13-01T00:00:00Z",
        "ü",
        "2 h",
        "h",
        "-",
        "--2h",
        "2y",
        "1h30m",
        "tomorrow",
        "2026-02-30",
        "2026-11-20 25:00",
        "2026-11-21T02:30ZZ",
        "²h",
        "2.5h",
    ] {
        let wrong = resolve(text, "UTC").unwrap_err();
        assert!(
            wrong.starts_with(&format!("`{text}` is not an instant")),
            "{wrong}"
        );
        assert!(
            wrong.contains("2026-01-31T12:00:00Z") && wrong.contains("2h"),
            "{wrong}"
        );
    }
    for text in [
        "99999999999999999999h",
        "9999999999w",
        "999999w",
        "10000-01-01",
        "+12000-01-01 00:00",
    ] {
        let wrong = resolve(text, "UTC").unwrap_err();
        assert!(wrong.contains(text), "{wrong}");
    }
}

#[test]
fn a_local_time_that_occurs_twice_is_an_error_with_both_instants() {
    assert_eq!(
        resolve("2026-10-25 02:30", "Europe/Berlin").unwrap_err(),
        "`2026-10-25 02:30:00` occurs twice in Europe/Berlin; write 2026-10-25T02:30:00+02:00 or \
         2026-10-25T02:30:00+01:00"
    );
    // By half an hour.
    let wrong = resolve("2026-04-05 01:45", "Australia/Lord_Howe").unwrap_err();
    assert!(
        wrong.contains("2026-04-05T01:45:00+11:00 or 2026-04-05T01:45:00+10:30"),
        "{wrong}"
    );
    assert_eq!(
        instant("2026-10-25 01:59:59", "Europe/Berlin"),
        "2026-10-24T23:59:59Z"
    );
    assert_eq!(
        instant("2026-10-25 03:00", "Europe/Berlin"),
        "2026-10-25T02:00:00Z"
    );
}

#[test]
fn a_local_time_that_is_skipped_is_an_error_with_the_times_around_it() {
    assert_eq!(
        resolve("2026-03-29 02:30", "Europe/Berlin").unwrap_err(),
        "`2026-03-29 02:30:00` does not exist in Europe/Berlin: clocks were set forward from \
         2026-03-29T02:00:00+01:00 to 2026-03-29T03:00:00+02:00"
    );
    assert_eq!(
        instant("2026-03-29 01:59:59", "Europe/Berlin"),
        "2026-03-29T00:59:59Z"
    );
    assert_eq!(
        instant("2026-03-29 03:00", "Europe/Berlin"),
        "2026-03-29T01:00:00Z"
    );
    // A whole day.
    let wrong = resolve("2011-12-30 12:00", "Pacific/Apia").unwrap_err();
    assert!(
        wrong.contains("2011-12-30T00:00:00-10:00 to 2011-12-31T00:00:00+14:00"),
        "{wrong}"
    );
}

#[test]
fn a_day_starts_at_its_first_instant() {
    // Midnight occurs twice: the clocks are set back from 01:00.
    assert_eq!(
        instant("2026-11-01", "America/Havana"),
        "2026-11-01T04:00:00Z"
    );
    // Midnight is skipped.
    assert_eq!(
        instant("2018-11-04", "America/Sao_Paulo"),
        "2018-11-04T03:00:00Z"
    );
    assert_eq!(
        instant("2011-12-30", "Pacific/Apia"),
        "2011-12-30T10:00:00Z"
    );
}

#[test]
fn zones_of_the_environment_are_names_with_or_without_a_path() {
    for (tz, expected) in [
        (Some("Europe/Berlin"), "Europe/Berlin"),
        (Some(":Europe/Berlin"), "Europe/Berlin"),
        (Some(":/usr/share/zoneinfo/Europe/Berlin"), "Europe/Berlin"),
        (Some("Etc/UTC"), "UTC"),
        (Some("Zulu"), "UTC"),
        (Some("/etc/localtime"), "UTC"),
        (Some("CET-1CEST,M3.5.0,M10.5.0/3"), "UTC"),
        (Some("nowhere"), "UTC"),
        (Some(""), "UTC"),
        (None, "UTC"),
    ] {
        assert_eq!(zone_from_env(tz).name(), expected, "{tz:?}");
    }
}

#[test]
fn an_unknown_zone_is_an_error_with_similar_names() {
    for (name, expected) in [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("???", "UTC"),
    ] {
        let wrong = parse_zone(name).unwrap_err().to_string();
        assert!(wrong.contains(name) && wrong.contains(expected), "{wrong}");
    }
}

/// Zones with changes at other hours, of half an hour, at midnight, and without any.
const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "America/New_York",
    "Asia/Kathmandu",
];

/// Instants within two days of a change of the clocks, and any others.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    let near = |day: &str| {
        let day = utc(&format!("{day}T00:00:00Z")).timestamp();
        day - 2 * 86_400..day + 2 * 86_400
    };
    prop_oneof![
        near("2026-03-29"),
        near("2026-10-25"),
        near("2026-03-08"),
        near("2026-11-01"),
        near("2026-04-05"),
        near("2026-10-04"),
        0..4_000_000_000_i64,
    ]
    .prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap())
}

proptest! {
    /// The local time of an instant resolves to it, or is refused with it as one of two instants.
    #[test]
    fn the_local_time_of_an_instant_resolves_to_it(at in instants(), zone in 0..ZONES.len()) {
        let zone = parse_zone(ZONES[zone]).unwrap();
        let text = at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string();
        match text.parse::<InstantInput>().unwrap().resolve(at, zone) {
            Ok(found) => prop_assert_eq!(found, at),
            Err(InvalidInstant::Ambiguous { first, second, .. }) => {
                prop_assert!(first < second);
                prop_assert!(first == at || second == at);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// A local time exists, or is refused with the one instant at which the clocks skipped it.
    #[test]
    fn a_local_time_exists_or_is_between_the_times_of_its_error(at in instants(), zone in 0..ZONES.len()) {
        let zone = parse_zone(ZONES[zone]).unwrap();
        let local = at.naive_utc();
        let input: InstantInput = local.format("%Y-%m-%d %H:%M:%S").to_string().parse().unwrap();
        match input.resolve(at, zone) {
            Ok(found) => prop_assert_eq!(found.with_timezone(&zone).naive_local(), local),
            Err(InvalidInstant::Ambiguous { first, second, .. }) => {
                prop_assert_eq!(first.naive_local(), local);
                prop_assert_eq!(second.naive_local(), local);
            }
            Err(InvalidInstant::Skipped { before, after, .. }) => {
                prop_assert_eq!(before, after);
                prop_assert!(before.naive_local() <= local && local < after.naive_local());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// The start of a day belongs to the day, and the instant before does not.
    #[test]
    fn no_instant_of_a_day_is_before_its_start(at in instants(), zone in 0..ZONES.len()) {
        let zone = parse_zone(ZONES[zone]).unwrap();
        let day = at.with_timezone(&zone).date_naive();
        let start = "today".parse::<InstantInput>().unwrap().resolve(at, zone).unwrap();
        prop_assert!(start <= at);
        prop_assert_eq!(start.with_timezone(&zone).date_naive(), day);
        let before = (start - TimeDelta::seconds(1)).with_timezone(&zone);
        prop_assert!(before.date_naive() < day || before.hour() == 23);
    }

    #[test]
    fn no_text_panics(text in ".{0,30}") {
        let _ = text.parse::<InstantInput>();
        let _ = parse_zone(&text);
    }
}
