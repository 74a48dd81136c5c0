//! Numbers.

/// A number with groups of three digits: `10,000`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 change`, `1,204 changes`.
pub(crate) fn count_of(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", number(count))
}

/// A number of bytes in its largest unit: `1.4 MB`.
#[cfg(feature = "background")]
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => count_of(bytes, "byte"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let texts = [0, 999, 1_000, 10_000, 1_234_567].map(number);
        assert_eq!(texts, ["0", "999", "1,000", "10,000", "1,234,567"]);
        assert_eq!(count_of(1, "change"), "1 change");
    }

    #[cfg(feature = "background")]
    #[test]
    fn sizes_have_their_largest_unit() {
        let sizes = [0, 999, 1_050, 2_960_000, 3_000_000_000].map(size);
        assert_eq!(
            sizes,
            ["0 bytes", "999 bytes", "1.0 kB", "2.9 MB", "3.0 GB"]
        );
    }
}
