//! The timeline of an address: filters, page and grouping.

use chrono::{DateTime, SubsecRound, Utc};
use chrono_tz::Tz;
use threadline_diesel::Op;
use threadline_diesel::query::VolumeKey;

use super::chart_by::ChartBy;
use super::filters::ChangeFilters;
use super::instant::{GivenInstant, instant_text};
use super::paging::Paging;
use super::parameters::Parameters;
use crate::href::Href;

/// The window that is added to filters without an index.
pub(crate) const ADDED_WINDOW: &str = "-24h";

/// A timeline in an address.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TimelineQuestion {
    pub(crate) filters: ChangeFilters,
    pub(crate) paging: Paging,
    /// Whether changes are grouped by transaction.
    pub(crate) is_grouped: bool,
    /// What the chart of the volume shows.
    pub(crate) chart_by: ChartBy,
    /// Whether the start of the window was added, because no index serves the filters.
    pub(crate) is_window_added: bool,
    /// Whether no window may be added: `window=all`.
    pub(crate) is_unbounded: bool,
    /// The relative window that the first paging link fixed.
    pub(crate) fixed: Option<FixedWindow>,
}

/// A relative window and the instant at which it was resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FixedWindow {
    pub(crate) at: DateTime<Utc>,
    from: Option<String>,
    to: Option<String>,
}

impl TimelineQuestion {
    /// Takes a timeline out of parameters. Errors are kept in the parameters.
    pub(crate) fn take(parameters: &mut Parameters, now: DateTime<Utc>, zone: Tz) -> Self {
        let mut filters = ChangeFilters::take(parameters, now, zone);
        let paging = Paging::take(parameters);
        let word = |parameters: &mut Parameters, name, word: &str| {
            parameters
                .parsed(name, |text| match text {
                    text if text == word => Ok(()),
                    _ => Err(format!("write {word}, or leave it out")),
                })
                .is_some()
        };
        let is_grouped = word(parameters, "group", "transaction");
        let chart_by = parameters.parsed("by", ChartBy::parse).unwrap_or_default();
        let is_unbounded = word(parameters, "window", "all");
        let fixed = parameters.parsed("fixed", |text| GivenInstant::parse(text, now, zone));
        let (from, to) = (parameters.text("live_from"), parameters.text("live_to"));
        // A document has no place to say that a window was added.
        let is_window_added = !is_unbounded && !parameters.is_json() && filters.needs_window();
        if is_window_added {
            let from = GivenInstant::parse(ADDED_WINDOW, now, zone).ok();
            filters.from = from.map(GivenInstant::whole_seconds);
        }
        Self {
            filters,
            paging,
            is_grouped,
            chart_by,
            is_window_added,
            is_unbounded,
            fixed: fixed.map(|fixed| FixedWindow {
                at: fixed.instant,
                from,
                to,
            }),
        }
    }

    /// Adds this list to an address, at its first page, with the texts as given.
    pub(crate) fn list(&self, path: Href) -> Href {
        let mut given = self.clone();
        if self.is_window_added {
            given.filters.from = None;
        }
        given.add(path)
    }

    /// Adds this list to an address, with instants that do not depend on the time of the request, for links
    /// to pages.
    pub(crate) fn fixed_list(&self, path: Href, now: DateTime<Utc>) -> Href {
        let list = Self {
            filters: self.filters.fixed(),
            ..self.clone()
        }
        .add(path);
        let relative = |one: &Option<GivenInstant>| {
            let relative = one.as_ref().filter(|one| one.is_relative);
            relative.map(|one| one.text.clone())
        };
        let (from, to) = (relative(&self.filters.from), relative(&self.filters.to));
        let is_relative = from.is_some() || to.is_some();
        let new = is_relative.then(|| FixedWindow {
            at: now.trunc_subsecs(0),
            from,
            to,
        });
        let Some(fixed) = new.or_else(|| self.fixed.clone()) else {
            return list;
        };
        let live = [("live_from", fixed.from), ("live_to", fixed.to)];
        let live = live
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)));
        list.with("fixed", instant_text(fixed.at)).with_all(live)
    }

    /// The filters to save as a view: with the relative window as given, without a window that was added.
    pub(crate) fn saved_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = self.filters.fields.pairs();
        let (from, to) = match &self.fixed {
            Some(fixed) => (fixed.from.clone(), fixed.to.clone()),
            None => (None, None),
        };
        let given = self.filters.from.as_ref().filter(|_| !self.is_window_added);
        let ends = [("from", from, given), ("to", to, self.filters.to.as_ref())];
        for (name, live, given) in ends {
            let text = live.or_else(|| given.map(|given| given.text.clone()));
            pairs.extend(text.map(|text| (name, text)));
        }
        pairs
    }

    /// Adds this list to an address, with its relative window again.
    pub(crate) fn live_list(&self, path: Href, fixed: &FixedWindow) -> Href {
        let mut list = self.clone();
        list.filters.from = None;
        list.filters.to = None;
        let given = |live: &Option<String>, now: &Option<GivenInstant>| {
            live.clone()
                .or_else(|| now.as_ref().map(|one| one.text.clone()))
        };
        let window = [
            ("from", given(&fixed.from, &self.filters.from)),
            ("to", given(&fixed.to, &self.filters.to)),
        ];
        let window = window
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)));
        list.add(path).with_all(window)
    }

    /// Adds this list to an address with another window.
    pub(crate) fn with_window(
        &self,
        path: Href,
        from: Option<GivenInstant>,
        to: Option<GivenInstant>,
    ) -> Href {
        let mut list = self.clone();
        list.is_unbounded = from.is_none() && to.is_none();
        list.filters.from = from;
        list.filters.to = to;
        list.add(path)
    }

    /// Adds the changes of a bar of the chart to an address; none for a value that no filter can select.
    pub(crate) fn with_volume_key(&self, path: Href, key: &VolumeKey) -> Option<Href> {
        let mut list = self.clone();
        list.chart_by = ChartBy::default();
        let filters = &mut list.filters.fields;
        match key {
            VolumeKey::Table(table) => {
                filters.table = Some(table.clone());
                filters.schema = None;
            }
            VolumeKey::Actor(actor) => {
                filters.actor = match actor {
                    Some(actor) => Some(actor.known()?.clone()),
                    None => None,
                };
                filters.actor_type = None;
                filters.unattributed = actor.is_none();
            }
            VolumeKey::Op(op) if Op::ALL.contains(op) => filters.op = Some(*op),
            _ => return None,
        }
        Some(list.add(path))
    }

    /// Adds this list to an address without one filter.
    pub(crate) fn without(&self, path: Href, name: &str) -> Href {
        let pairs = self.filters.pairs().into_iter().filter(|(other, _)| {
            let is_removed = *other == name || name == "table" && *other == "key";
            let is_added = self.is_window_added && *other == "from";
            !is_removed && !is_added
        });
        self.add_display(path.with_all(pairs))
    }

    fn add(&self, path: Href) -> Href {
        self.add_display(path.with_all(self.filters.pairs()))
    }

    fn add_display(&self, list: Href) -> Href {
        let mut list = self.paging.add_limit(list);
        if self.is_grouped {
            list = list.with("group", "transaction");
        }
        if self.chart_by != ChartBy::default() {
            list = list.with("by", self.chart_by.as_str());
        }
        if self.is_unbounded && self.filters.from.is_none() {
            list = list.with("window", "all");
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T17:44:50Z";

    fn take(query: &str, now: &str) -> TimelineQuestion {
        let mut parameters = Parameters::parse(query);
        let now = now.parse().unwrap();
        let question = TimelineQuestion::take(&mut parameters, now, Tz::Europe__Berlin);
        assert!(parameters.finish().is_ok(), "{query}");
        question
    }

    fn query(href: &Href) -> String {
        let query = href.as_str().split_once('?');
        query.map_or(String::new(), |(_, query)| query.to_owned())
    }

    fn timeline() -> Href {
        Href::new("/audit", "/timeline")
    }

    #[test]
    fn a_paging_link_fixes_a_relative_window_and_knows_the_way_back() {
        let first = take("table=invoices&from=-24h", NOW);
        let link = first.fixed_list(timeline(), NOW.parse().unwrap());
        let later = take(&query(&link), "2026-11-22T00:00:00Z");
        let from = later.filters.from.clone().unwrap();
        assert_eq!(from.text, "2026-11-20T17:44:50Z");
        let again = later.fixed_list(timeline(), "2026-11-22T00:00:00Z".parse().unwrap());
        assert_eq!(again, link, "paging links stay the same on later pages");
        let fixed = later.fixed.clone().unwrap();
        assert_eq!(fixed.at, NOW.parse::<DateTime<Utc>>().unwrap());
        let live = later.live_list(timeline(), &fixed);
        assert_eq!(live, first.list(timeline()));
    }

    #[test]
    fn a_window_is_added_only_to_filters_without_an_index() {
        for (query, is_added) in [
            ("", false),
            ("op=delete", true),
            ("op=delete&table=invoices", false),
            ("op=delete&from=-7d", false),
            ("op=delete&to=-7d", false),
            ("op=delete&window=all", false),
            ("op=delete&format=json", false),
            ("changed=note", true),
            ("changed=note&table=invoices", false),
            ("status=ok", true),
            ("status=error", false),
            ("category=console&actor=user:1", false),
            ("scan_values=abc", true),
            ("unattributed=true&op=delete", false),
        ] {
            let question = take(query, NOW);
            assert_eq!(question.is_window_added, is_added, "{query}");
            let list = take(&super::tests::query(&question.list(timeline())), NOW);
            assert_eq!(
                list.filters.fields.op, question.filters.fields.op,
                "{query}"
            );
        }
    }
}
