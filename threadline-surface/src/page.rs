//! The answers of screens.

use axum::http::StatusCode;
use chrono_tz::Tz;
use maud::Markup;
use serde::Serialize;

use crate::href::Href;
use crate::page_error::PageError;

/// The answer of a screen.
pub(crate) enum Screen {
    /// A page, which the shell frames.
    Page(Page),
    /// A part of a page, for the script.
    Fragment(Markup),
    /// A part of a page with its entity tag.
    TaggedFragment(Markup, String),
    /// The part of a page that the client has (304), with its entity tag.
    NotModified(String),
    /// The JSON document of the command.
    Json(String),
    /// A redirection (303).
    Redirect(Href),
    /// A redirection to the address that replaces this one (308).
    Moved(Href),
    /// A redirection (303) that stores the preferences.
    Preferences(Href, crate::preferences::Preferences),
    /// A file that exists, sent as an attachment.
    File(Attachment),
    /// A file of changes, which is exported while it is sent.
    Download(Box<crate::download::Download>),
    /// A file of the console itself, cached by its name.
    Asset(&'static crate::assets::Asset),
}

/// A file to save.
pub(crate) struct Attachment {
    pub(crate) file_name: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: axum::body::Body,
}

impl Screen {
    /// The JSON document of an answer.
    pub(crate) fn json(document: &impl Serialize) -> Result<Self, PageError> {
        serde_json::to_string(document)
            .map(Self::Json)
            .map_err(|_| PageError::Internal("json"))
    }
}

impl From<Page> for Screen {
    fn from(page: Page) -> Self {
        Self::Page(page)
    }
}

/// The content of a page.
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) status: StatusCode,
    pub(crate) body: Markup,
    pub(crate) terminal: Terminal,
    /// The zone of its times; that of the preferences unless set.
    pub(crate) zone: Option<Tz>,
    /// The seconds after which a browser without the script loads the page again.
    pub(crate) refresh: Option<u32>,
}

impl Page {
    /// A page with a title, which is also its heading.
    pub(crate) fn new(title: impl Into<String>, body: Markup) -> Self {
        Self {
            title: title.into(),
            status: StatusCode::OK,
            body,
            terminal: Terminal::default(),
            zone: None,
            refresh: None,
        }
    }

    /// Sets the status; 200 unless set.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Loads the page again and again in browsers without the script.
    pub(crate) fn refresh(mut self, seconds: u32) -> Self {
        self.refresh = Some(seconds);
        self
    }

    /// Sets the zone of its times.
    pub(crate) fn zone(mut self, zone: Tz) -> Self {
        self.zone = Some(zone);
        self
    }

    /// Sets the same answer in a terminal.
    pub(crate) fn terminal(mut self, terminal: Terminal) -> Self {
        self.terminal = terminal;
        self
    }
}

/// The same answer in a terminal: a command, and where sensible SQL and Rust.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminal {
    pub(crate) command: Option<String>,
    pub(crate) sql: Option<String>,
    pub(crate) rust: Option<String>,
}

impl Terminal {
    /// A command with its arguments, quoted for a shell: `threadline` is added.
    pub(crate) fn command<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = "threadline".to_owned();
        for argument in arguments {
            command.push(' ');
            command.push_str(&threadline_diesel::coverage::shell_quoted(
                argument.as_ref(),
            ));
        }
        Self {
            command: Some(command),
            ..Self::default()
        }
    }

    /// Adds SQL.
    pub(crate) fn sql(mut self, sql: impl Into<String>) -> Self {
        self.sql = Some(sql.into());
        self
    }

    /// Adds Rust.
    pub(crate) fn rust(mut self, rust: impl Into<String>) -> Self {
        self.rust = Some(rust.into());
        self
    }
}
