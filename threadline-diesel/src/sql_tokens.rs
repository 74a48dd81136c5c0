//! SQL as PostgreSQL's own scanner divides it: only as much as it takes to find names, never inside
//! constants or comments.

/// A piece of SQL that is a token, or something between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'s> {
    pub(crate) kind: Kind,
    /// As it is written.
    pub(crate) text: &'s str,
}

/// What a token is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Spaces and comments.
    Space,
    /// A name or key word without quotes.
    Word,
    /// A name in quotes.
    Quoted,
    /// A constant: text, number, parameter.
    Constant,
    /// A single character of punctuation.
    Mark,
}

impl Token<'_> {
    /// The name that a name means; none for anything else.
    pub(crate) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_lowercase()),
            Kind::Quoted => {
                let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
                Some(inner.replace("\"\"", "\""))
            }
            _ => None,
        }
    }

    pub(crate) fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }
}

/// Divides SQL. The pieces together are the SQL.
pub(crate) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = first_token(rest, first);
        let (text, after) = rest.split_at(length);
        tokens.push(Token { kind, text });
        rest = after;
    }
    tokens
}

/// The kind and the length of the first token.
fn first_token(sql: &str, first: char) -> (Kind, usize) {
    let second = sql[first.len_utf8()..].chars().next();
    match (first, second) {
        ('-', Some('-')) => (Kind::Space, sql.find('\n').unwrap_or(sql.len())),
        ('/', Some('*')) => (Kind::Space, comment(sql)),
        (space, _) if space.is_whitespace() => (Kind::Space, while_char(sql, char::is_whitespace)),
        ('"', _) => (Kind::Quoted, quoted(sql, '"', 1)),
        ('\'', _) => (Kind::Constant, quoted(sql, '\'', 1)),
        ('e' | 'E', Some('\'')) => (Kind::Constant, escaped(sql)),
        ('b' | 'B' | 'x' | 'X' | 'n' | 'N', Some('\'')) => (Kind::Constant, quoted(sql, '\'', 2)),
        ('$', _) => dollar(sql),
        (digit, _) if digit.is_ascii_digit() => (
            Kind::Constant,
            while_char(sql, |c| c.is_ascii_alphanumeric() || c == '.'),
        ),
        (letter, _) if is_name_start(letter) => (Kind::Word, while_char(sql, is_name_part)),
        _ => (Kind::Mark, first.len_utf8()),
    }
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_name_part(c: char) -> bool {
    is_name_start(c) || c.is_ascii_digit() || c == '$'
}

fn while_char(sql: &str, belongs: impl Fn(char) -> bool) -> usize {
    sql.find(|c| !belongs(c)).unwrap_or(sql.len())
}

/// The length up to the closing quote; doubled ones are part of what is quoted.
fn quoted(sql: &str, quote: char, opening: usize) -> usize {
    let mut at = opening;
    while let Some(found) = sql[at..].find(quote) {
        at += found + 1;
        if !sql[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    sql.len()
}

/// The same of a constant in which a backslash takes the quote's meaning away.
fn escaped(sql: &str) -> usize {
    let mut characters = sql.char_indices().skip(2).peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => {
                characters.next();
            }
            '\'' if characters.peek().is_some_and(|(_, next)| *next == '\'') => {
                characters.next();
            }
            '\'' => return at + 1,
            _ => {}
        }
    }
    sql.len()
}

/// A parameter (`$1`), a dollar-quoted text, or a lone dollar.
fn dollar(sql: &str) -> (Kind, usize) {
    let tag = 1 + while_char(&sql[1..], |c| is_name_part(c) && c != '$');
    if sql[tag..].starts_with('$') && !sql[1..].starts_with(|c: char| c.is_ascii_digit()) {
        let delimiter = &sql[..=tag];
        let end = sql[tag + 1..]
            .find(delimiter)
            .map_or(sql.len(), |end| tag + 1 + end + delimiter.len());
        return (Kind::Constant, end);
    }
    if tag == 1 {
        (Kind::Mark, 1)
    } else {
        (Kind::Constant, tag)
    }
}

/// The length of a comment; comments nest.
fn comment(sql: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < sql.len() {
        let rest = &sql[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> Vec<String> {
        tokens(sql).iter().filter_map(Token::name).collect()
    }

    #[test]
    fn the_pieces_are_the_whole() {
        for sql in [
            r#"SELECT "a"."b""c", E'\'x', 'it''s', $1, $t$ "no" $t$, 1.5e3 /* /* "n" */ */ -- "c"
               FROM ünï$1 WHERE U&"x" <> N'y'"#,
            "'open",
            "$$open",
            "/* open",
            "$",
        ] {
            let whole: String = tokens(sql).iter().map(|token| token.text).collect();
            assert_eq!(whole, sql);
        }
    }

    #[test]
    fn names_are_found_outside_constants_and_comments_only() {
        assert_eq!(
            words(r#"SELECT "A"."b""c" FROM T /* x /* y */ z */ WHERE a='b' -- c"#),
            ["select", "A", "b\"c", "from", "t", "where", "a"]
        );
        assert_eq!(
            words(r"SELECT E'\' x' + $$ y $$ + $q$ z $q$ + $1"),
            ["select"]
        );
    }
}
