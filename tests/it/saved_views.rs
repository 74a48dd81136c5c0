//! Saved views: private or shared filters, run with the scope of the reader.

use threadline::query::TimelineFilters;
use threadline::saved_views::{self, MAX_VIEWS, SavedViewError, Sharing};
use threadline::{ActorRef, Scope, instant::Tz, timeline};

use crate::harness::{Trail, captured, empty_trail, run_async_at};

fn actor(text: &str) -> ActorRef {
    text.parse().unwrap()
}

fn filters(pairs: &[(&str, &str)]) -> TimelineFilters {
    TimelineFilters::from_pairs(pairs.iter().copied()).unwrap()
}

/// Saves a view and returns its id as text.
fn save(
    trail: &Trail,
    owner: &str,
    name: &str,
    sharing: Sharing,
    pairs: &[(&str, &str)],
) -> String {
    let saved = trail.run_async(async |conn| {
        let name = name.parse().unwrap();
        saved_views::save(conn, &actor(owner), &name, sharing, &filters(pairs)).await
    });
    saved.unwrap().id.to_string()
}

fn names(trail: &Trail, owner: Option<&str>) -> Vec<String> {
    let owner = owner.map(actor);
    let views = trail.run_async(async |conn| saved_views::list(conn, owner.as_ref()).await);
    views.unwrap().into_iter().map(|view| view.name).collect()
}

#[test]
fn a_saved_relative_window_stays_relative() {
    let trail = empty_trail();
    let id = save(
        &trail,
        "user:1",
        "today",
        Sharing::Private,
        &[("from", "-24h"), ("op", "delete")],
    );
    let view = trail.run_async(async |conn| {
        let owner = actor("user:1");
        saved_views::find(conn, Some(&owner), id.parse().unwrap())
            .await
            .unwrap()
            .unwrap()
    });
    assert_eq!(
        view.filters,
        Ok(filters(&[("from", "-24h"), ("op", "delete")]))
    );
}

#[test]
fn saving_under_the_same_name_replaces_the_view_and_keeps_its_id() {
    let trail = empty_trail();
    let first = save(
        &trail,
        "user:1",
        "mine",
        Sharing::Private,
        &[("op", "insert")],
    );
    let second = save(
        &trail,
        "user:1",
        "mine",
        Sharing::Shared,
        &[("op", "update")],
    );
    let other = save(
        &trail,
        "user:2",
        "mine",
        Sharing::Shared,
        &[("op", "delete")],
    );
    assert_eq!(first, second);
    assert_ne!(first, other);
    assert_eq!(names(&trail, None), ["mine", "mine"]);
}

#[test]
fn a_private_view_is_absent_for_every_other_actor() {
    let trail = empty_trail();
    let private = save(&trail, "user:1", "private", Sharing::Private, &[]);
    let shared = save(&trail, "user:1", "shared", Sharing::Shared, &[]);
    assert_eq!(names(&trail, Some("user:1")), ["private", "shared"]);
    assert_eq!(names(&trail, Some("user:2")), ["shared"]);
    assert_eq!(names(&trail, None), ["shared"]);
    trail.run_async(async |conn| {
        let other = actor("user:2");
        for (id, is_found) in [(&private, false), (&shared, true)] {
            let found = saved_views::find(conn, Some(&other), id.parse().unwrap())
                .await
                .unwrap();
            assert_eq!(found.is_some(), is_found);
            let removed = saved_views::remove(conn, &other, id.parse().unwrap())
                .await
                .unwrap();
            assert!(removed.is_none(), "only the owner removes a view");
        }
        let owner = actor("user:1");
        assert!(
            saved_views::remove(conn, &owner, private.parse().unwrap())
                .await
                .unwrap()
                .is_some()
        );
    });
    assert_eq!(names(&trail, Some("user:1")), ["shared"]);
}

#[test]
fn the_number_of_views_of_an_owner_is_limited() {
    let trail = empty_trail();
    trail.run(&format!(
        "INSERT INTO threadline.audit_saved_views (owner, name, is_shared, filters)
         SELECT 'user:1', 'view ' || n, false, '{{}}' FROM generate_series(1, {MAX_VIEWS}) AS n"
    ));
    let outcome = trail.run_async(async |conn| {
        let name = "one more".parse().unwrap();
        saved_views::save(
            conn,
            &actor("user:1"),
            &name,
            Sharing::Private,
            &filters(&[]),
        )
        .await
    });
    assert!(
        matches!(outcome, Err(SavedViewError::TooManyViews(owner)) if owner == actor("user:1"))
    );
    save(
        &trail,
        "user:1",
        "view 7",
        Sharing::Private,
        &[("op", "insert")],
    );
    save(&trail, "user:2", "one more", Sharing::Private, &[]);
}

#[test]
fn an_anonymous_owner_and_contradicting_filters_are_refused() {
    let trail = empty_trail();
    trail.run_async(async |conn| {
        let name = "x".parse().unwrap();
        let outcome = saved_views::save(
            conn,
            &ActorRef::anonymous(),
            &name,
            Sharing::Private,
            &filters(&[]),
        )
        .await;
        assert!(matches!(outcome, Err(SavedViewError::AnonymousOwner)));
        let mut wrong = filters(&[]);
        wrong.key = "1".parse().ok();
        let outcome =
            saved_views::save(conn, &actor("user:1"), &name, Sharing::Private, &wrong).await;
        assert!(matches!(outcome, Err(SavedViewError::Filters(_))));
    });
}

#[test]
fn a_missing_migration_or_privilege_is_a_typed_error() {
    let trail = empty_trail();
    let role = trail.query_text("SELECT 'views_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT USAGE ON SCHEMA threadline TO \"{role}\""
    ));
    let denied = run_async_at(&trail.url_as(&role), async |conn| {
        saved_views::list(conn, None).await
    });
    assert!(matches!(denied, Err(SavedViewError::NoPrivilege)));
    trail.run("DROP TABLE threadline.audit_saved_views");
    let missing = trail
        .run_async(async |conn| saved_views::list(conn, None).await)
        .unwrap_err();
    assert!(matches!(missing, SavedViewError::MigrationMissing));
    assert!(missing.to_string().contains("threadline_0002"), "{missing}");
}

#[test]
fn stored_filters_of_another_program_do_not_hide_the_other_views() {
    let trail = empty_trail();
    trail.run(
        r#"INSERT INTO threadline.audit_saved_views (owner, name, is_shared, filters) VALUES
            ('robot', 'a', true, '{"colour": "red"}'), ('user:1', 'b', true, '{"op": "insert"}')"#,
    );
    let views = trail.run_async(async |conn| saved_views::list(conn, None).await.unwrap());
    let error = views[0].filters.clone().unwrap_err().to_string();
    assert!(error.contains("colour"), "{error}");
    assert!(views[1].filters.is_ok());
    assert_eq!(
        serde_json::to_value(&views[0]).unwrap()["filters"],
        serde_json::Value::Null
    );
}

#[test]
fn a_view_reads_with_the_scope_of_its_reader() {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE salaries (id int PRIMARY KEY)",
        &["orders", "salaries"],
    );
    trail.run("INSERT INTO orders VALUES (1); INSERT INTO salaries VALUES (1)");
    let id = save(
        &trail,
        "admin:1",
        "inserts",
        Sharing::Shared,
        &[("op", "insert")],
    );
    let scope = Scope::new().tables(["orders".parse().unwrap()]);
    for (scope, expected) in [(None, 2), (Some(&scope), 1)] {
        let entries = trail.run_async(async |conn| {
            let view = saved_views::find(conn, None, id.parse().unwrap())
                .await
                .unwrap()
                .unwrap();
            let filters = view.filters.unwrap();
            let now = "2030-01-01T00:00:00Z".parse().unwrap();
            let query = filters.timeline(None, now, Tz::UTC, scope).unwrap();
            timeline(conn, &query).await.unwrap().entries.len()
        });
        assert_eq!(entries, expected);
    }
}
