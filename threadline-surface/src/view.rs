//! Components of pages: functions from values to markup.

pub(crate) mod actions;
pub(crate) mod actor;
pub(crate) mod as_of;
pub(crate) mod chart;
pub(crate) mod chips;
pub(crate) mod code;
pub(crate) mod completeness;
pub(crate) mod context_facts;
pub(crate) mod diff;
pub(crate) mod downloads;
pub(crate) mod empty_answer;
pub(crate) mod entries;
pub(crate) mod evidence;
pub(crate) mod facts;
pub(crate) mod filter_form;
pub(crate) mod filter_words;
pub(crate) mod followed;
pub(crate) mod form;
pub(crate) mod group_chart;
pub(crate) mod grouped_entries;
pub(crate) mod heat_strip;
pub(crate) mod id;
pub(crate) mod instant;
#[cfg(feature = "background")]
pub(crate) mod jobs;
pub(crate) mod number;
pub(crate) mod op;
pub(crate) mod pager;
pub(crate) mod polled;
pub(crate) mod presets;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod saved_views;
pub(crate) mod states;
pub(crate) mod too_broad;
pub(crate) mod transactions;
pub(crate) mod value;
pub(crate) mod window;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|one| one == "rs") {
                found.push((
                    path.display().to_string(),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }

    #[test]
    fn addresses_are_hrefs_and_markup_is_never_taken_from_text() {
        let mut found = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut found,
        );
        for (path, text) in found
            .iter()
            .filter(|(path, _)| !path.ends_with("src/view.rs"))
        {
            assert!(!text.contains("PreEscaped"), "{path}");
            for attribute in ["href", "action", "src", "formaction", "data-fragment"] {
                for form in [" {name}=\"", " {name}={"] {
                    let form = form.replace("{name}", attribute);
                    assert!(!text.contains(&form), "{path}: write{form} as an Href");
                }
            }
            assert!(!text.contains(" style="), "{path}");
        }
    }
}
