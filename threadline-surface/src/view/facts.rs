//! Lists of names and values.

use maud::{Markup, html};

/// A name with its value; none if it is not known.
pub(crate) struct Fact {
    name: &'static str,
    value: Option<Markup>,
}

impl Fact {
    pub(crate) fn new(name: &'static str, value: Option<Markup>) -> Self {
        Self { name, value }
    }
}

/// A titled list of facts. Facts without a value are left out.
pub(crate) fn facts(title: &str, facts: &[Fact]) -> Markup {
    html! {
        section {
            h2 { (title) }
            (fact_list(facts))
        }
    }
}

/// A list of facts without a title.
pub(crate) fn fact_list(facts: &[Fact]) -> Markup {
    html! {
        dl.facts {
            @for fact in facts {
                @if let Some(value) = &fact.value {
                    dt { (fact.name) }
                    dd { (value) }
                }
            }
        }
    }
}
