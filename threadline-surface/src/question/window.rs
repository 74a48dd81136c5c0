//! The window of a list: `from`, `to`.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::instant::GivenInstant;
use super::parameters::Parameters;

/// The window of a list in an address; the whole trail without both ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Window {
    pub(crate) from: Option<GivenInstant>,
    pub(crate) to: Option<GivenInstant>,
}

impl Window {
    /// Takes the window out of parameters. Errors are kept in the parameters.
    pub(crate) fn take(parameters: &mut Parameters, now: DateTime<Utc>, zone: Tz) -> Self {
        let mut take = |name| parameters.parsed(name, |text| GivenInstant::parse(text, now, zone));
        let window = Self {
            from: take("from"),
            to: take("to"),
        };
        if let (Some(from), Some(to)) = (&window.from, &window.to)
            && from.instant > to.instant
        {
            parameters.reject("from", &from.text, "the window ends before it begins");
        }
        window
    }

    /// Whether the window is the whole trail.
    pub(crate) fn is_whole(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// The same window with instants that do not depend on the time of the request, for links to pages.
    pub(crate) fn fixed(&self) -> Self {
        Self {
            from: self.from.as_ref().map(GivenInstant::fixed),
            to: self.to.as_ref().map(GivenInstant::fixed),
        }
    }

    /// The parameters of the window.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("from", &self.from), ("to", &self.to)]
            .into_iter()
            .filter_map(|(name, end)| Some((name, end.as_ref()?.text.as_str())))
    }

    /// The options of the window on the command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let fixed = self.fixed();
        fixed
            .pairs()
            .flat_map(|(name, text)| [format!("--{name}"), text.to_owned()])
            .collect()
    }

    /// Restricts a query, by its methods: `apply(timeline, Timeline::from, Timeline::to)`.
    pub(crate) fn apply<Q>(
        &self,
        query: Q,
        from: fn(Q, DateTime<Utc>) -> Q,
        to: fn(Q, DateTime<Utc>) -> Q,
    ) -> Q {
        let query = match &self.from {
            Some(start) => from(query, start.instant),
            None => query,
        };
        match &self.to {
            Some(end) => to(query, end.instant),
            None => query,
        }
    }
}
