//! Substitution of `@name@` placeholders in SQL templates.

/// Replaces every `@name@` of the template that has a value, in one pass: placeholders in values are not
/// replaced, so a column may be named `@image@`.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(start) = rest.find('@') {
        filled.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let known = after.find('@').and_then(|end| {
            let value = values.iter().find(|(name, _)| *name == &after[..end])?;
            Some((value.1, &after[end + 1..]))
        });
        if let Some((value, remaining)) = known {
            filled.push_str(value);
            rest = remaining;
        } else {
            filled.push('@');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_in_values_are_not_replaced() {
        let filled = fill("a @x@ b @y@ @z@", &[("x", "@y@"), ("y", "2")]);
        assert_eq!(filled, "a @y@ b 2 @z@");
    }
}
