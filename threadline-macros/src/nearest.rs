//! What somebody who mistyped a word probably meant.

/// The candidate within two typing mistakes of a word, the closest one if there are several.
///
/// Two mistakes turn any short word into any other, so at least half of the word must be right.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|&candidate| (distance(word, candidate), candidate))
        .filter(|&(mistakes, _)| mistakes <= 2 && mistakes * 2 <= word.chars().count())
        .min_by_key(|&(mistakes, _)| mistakes)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be inserted, removed or replaced (Levenshtein), a row at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, wanted) in from.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        row[0] = left;
        for (cell, &candidate) in row[1..].iter_mut().zip(&to) {
            let replaced = diagonal + usize::from(candidate != wanted);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_find_the_word_that_was_meant() {
        let words = ["exclude", "mask", "mask_with", "no_key"];
        for (typed, meant) in [
            ("exlude", Some("exclude")),
            ("exclued", Some("exclude")),
            ("maks", Some("mask")),
            ("mask_wiht", Some("mask_with")),
            ("nokey", Some("no_key")),
            ("key", None),
            ("m", None),
            ("redact", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &words), meant, "{typed}");
        }
    }
}
