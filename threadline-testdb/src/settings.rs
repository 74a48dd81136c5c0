//! What goes into a cluster's `postgresql.conf`.

use crate::Error;

/// Settings for speed: nothing of a throwaway cluster has to outlive the machine's crash.
///
/// `synchronous_commit` stays on. Without `fsync` it costs one write to the operating system, and
/// without it the last commits before a SIGKILL would be lost with the server's memory, so that
/// no crash could be tested.
const DEFAULTS: [(&str, &str); 11] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "32MB"),
    ("autovacuum", "off"),
    ("max_connections", "100"),
    ("max_prepared_transactions", "20"),
    ("listen_addresses", ""),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    // In files of the data directory instead of /dev/shm, where segments of a killed server would
    // stay for ever, and which containers make very small.
    ("dynamic_shared_memory_type", "mmap"),
    // The log is a file of ours; a collector process would only be one more to stop.
    ("logging_collector", "off"),
];

/// Settings in the order given; of several for one name, the last holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings(Vec<(String, String)>);

impl Settings {
    pub(crate) fn defaults() -> Self {
        let mut settings = Self::default();
        for (name, value) in DEFAULTS {
            settings.set(name, value);
        }
        settings
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The lines to append to `postgresql.conf`.
    pub(crate) fn lines(&self) -> Result<String, Error> {
        let mut text = String::new();
        for (name, value) in &self.0 {
            check(name, value)?;
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            text.push_str(name);
            text.push_str(" = '");
            text.push_str(&value);
            text.push_str("'\n");
        }
        Ok(text)
    }
}

fn check(name: &str, value: &str) -> Result<(), Error> {
    let refuse = |what| {
        Err(Error::Setting {
            name: name.to_owned(),
            value: value.to_owned(),
            what,
        })
    };
    let is_name_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        || !name.chars().all(is_name_part)
    {
        return refuse("a name has letters, digits, underscores and dots only");
    }
    if value.contains(['\n', '\r', '\0']) {
        return refuse("a value is one line");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_the_configuration_file_wants() {
        let mut settings = Settings::default();
        settings.set("my.note", r"it's a \");

        assert_eq!(settings.lines().unwrap(), "my.note = 'it''s a \\\\'\n");
    }

    #[test]
    fn what_would_break_the_file_is_refused_by_name() {
        for (name, value) in [("", "x"), ("a b", "x"), ("a", "x\ny"), ("1a", "x")] {
            let mut settings = Settings::default();
            settings.set(name, value);

            let error = settings.lines().unwrap_err().to_string();

            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
