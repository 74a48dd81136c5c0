//! The volume by table or actor over time.

use super::{ODD, ids, invoices, page};
use crate::harness::{Lane, Trail, block_on};

#[test]
fn a_heat_strip_links_by_row_and_column_and_has_a_table() {
    let trail = Trail::new();
    trail.write(
        "user:alice",
        7,
        "INSERT INTO invoices SELECT n, n FROM generate_series(1, 9) AS n",
    );
    trail.write("user:bob", 8, "DELETE FROM invoices WHERE id = 2");
    trail.run(&format!("INSERT INTO {ODD} VALUES ('x', 8, 'n')"));
    let site = trail.site();
    let part = page(&site, "/parts/volume?by=table-time&from=-1h", Lane::Admin);
    let rows = part.texts(".heat li");
    assert_eq!(rows, ["public.invoices 10".to_owned(), format!("{ODD} 1")]);
    assert_eq!(part.texts(".heat svg a").len(), 60);
    let paths = part.attributes(".heat path", "d");
    assert_eq!(paths.len(), 5, "a path for each shade");
    let cells: usize = paths.iter().map(|path| path.matches('M').count()).sum();
    assert!((2..=4).contains(&cells), "{paths:?}");
    assert!(part.texts("figcaption")[0].contains("11 changes."));

    let row = part.attributes(".heat li a", "href").remove(0);
    assert_eq!(ids(&block_on(site.get(&row, Lane::Admin))).len(), 10);
    let newest = part.attributes("figure tbody a", "href").pop().unwrap();
    let newest = block_on(site.get(&newest, Lane::Admin));
    assert!(!ids(&newest).is_empty());
    let labels = part.attributes(".heat svg a", "aria-label");
    let links = part.attributes(".heat svg a", "href");
    let (label, link) = (labels.iter().zip(links))
        .find(|(label, _)| !label.starts_with("0 "))
        .unwrap();
    let listed = ids(&block_on(site.get(&link, Lane::Admin))).len();
    assert!(label.starts_with(&format!("{listed} change")), "{label}");

    let scoped = page(&site, "/parts/volume?by=actor-time&from=-1h", Lane::Support);
    assert_eq!(scoped.texts(".heat li"), ["user:alice 9"]);
}

#[test]
fn a_heat_strip_of_a_window_without_changes_says_so() {
    let trail = invoices(1);
    let answer = page(
        &trail.site(),
        "/parts/volume?by=table-time&from=2020-01-01&to=2020-01-02",
        Lane::Admin,
    );
    assert_eq!(answer.texts(".note"), ["No changes in this window."]);
}
