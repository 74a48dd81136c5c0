//! Theme, time zone and density.

use axum::http::{Method, StatusCode};

use crate::harness::{Lane, Trail, block_on, request};

#[test]
fn preferences_are_stored_in_cookies_and_shown_on_the_next_page() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 100)");
    block_on(async {
        let back = format!("/audit/changes?id={}", trail.newest_change());
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("theme", "dark"), ("zone", "Asia/Kolkata"), ("back", &back)])
            .finish();
        let answer = site.post("/audit/preferences", Lane::Admin, &form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.header("location"), back);
        let cookies: Vec<_> = answer
            .headers
            .get_all("set-cookie")
            .iter()
            .map(|cookie| cookie.to_str().unwrap())
            .collect();
        assert_eq!(cookies.len(), 4);
        for cookie in &cookies {
            assert!(cookie.contains("; Path=/audit;"), "{cookie}");
            assert!(
                cookie.ends_with("HttpOnly; SameSite=Lax; Secure"),
                "{cookie}"
            );
        }
        let pairs: Vec<_> = cookies
            .iter()
            .filter_map(|one| one.split(';').next())
            .collect();
        let mut request = request(Method::GET, &back, Lane::Admin, "");
        request
            .headers_mut()
            .insert("cookie", pairs.join("; ").parse().unwrap());
        let page = site.send(request).await;
        assert_eq!(page.attributes("html", "data-theme"), ["dark"]);
        assert!(
            page.texts("time")[0].contains("+05:30"),
            "{:?}",
            page.texts("time")
        );
    });
}

#[test]
fn invalid_preferences_and_foreign_return_addresses_are_refused() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let answer = site
            .post("/audit/preferences", Lane::Admin, "zone=Mars/North")
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let answer = site
            .post(
                "/audit/preferences",
                Lane::Admin,
                "theme=dark&back=https://evil.example/",
            )
            .await;
        assert_eq!(answer.header("location"), "/audit");
    });
}

#[test]
fn an_unknown_zone_shows_the_form_again_with_the_error_at_the_field() {
    let trail = Trail::new();
    let site = trail.site();
    let answer = block_on(site.post("/audit/preferences", Lane::Admin, "zone=Mars/North"));
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.attributes("#field-zone", "value"), ["Mars/North"]);
    assert_eq!(answer.texts("[role=alert]").len(), 1);
}

#[test]
fn single_keys_turned_off_stay_off() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let on = site.get("/audit/help", Lane::Admin).await;
        assert_eq!(on.attributes("body", "data-keys"), ["on"]);
        let mut request = request(Method::GET, "/audit/help", Lane::Admin, "");
        let cookie = "threadline-keys=off".parse().unwrap();
        request.headers_mut().insert("cookie", cookie);
        let off = site.send(request).await;
        assert_eq!(off.attributes("body", "data-keys"), ["off"]);
    });
}
