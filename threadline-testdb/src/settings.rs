//! The lines of a cluster's `postgresql.conf`.

use crate::Error;

/// Settings for speed: a throwaway cluster need not survive a crash of the machine.
///
/// `synchronous_commit` stays on: without `fsync` it is cheap, and with it off, a SIGKILL would
/// lose the last commits, so that no crash of the server could be tested.
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
    // In files of the data directory. Segments of a killed server would stay in /dev/shm, which is
    // also very small in containers.
    ("dynamic_shared_memory_type", "mmap"),
    // Standard error is already a file; a collector would be one more process to stop.
    ("logging_collector", "off"),
];

/// Settings in the order given. PostgreSQL uses the last one of each name.
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
    let reject = |what| {
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
        return reject("a name contains only letters, digits, underscores and dots");
    }
    if value.contains(['\n', '\r', '\0']) {
        return reject("a value is one line");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_the_configuration_file() {
        let mut settings = Settings::default();
        settings.set("my.note", r"it's a \");

        assert_eq!(settings.lines().unwrap(), "my.note = 'it''s a \\\\'\n");
    }

    #[test]
    fn an_invalid_setting_is_rejected_by_name() {
        for (name, value) in [("", "x"), ("a b", "x"), ("a", "x\ny"), ("1a", "x")] {
            let mut settings = Settings::default();
            settings.set(name, value);

            let error = settings.lines().unwrap_err().to_string();

            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
