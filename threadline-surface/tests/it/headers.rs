//! Headers, and requests that pages of other sites cause.

use axum::http::{Method, StatusCode};

use crate::harness::{Lane, Trail, block_on, request};

#[test]
fn every_answer_has_the_security_headers_and_a_nonce_of_its_own() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let first = site.get("/audit/help", Lane::Admin).await;
        let second = site.get("/audit/help", Lane::Admin).await;
        let policy = first.header("content-security-policy");
        assert_ne!(policy, second.header("content-security-policy"));
        for part in [
            "default-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "require-trusted-types-for 'script'",
            "trusted-types threadline",
        ] {
            assert!(policy.contains(part), "{part}");
        }
        let nonce = first.attributes("script", "nonce");
        assert!(policy.contains(&format!("script-src 'nonce-{}'", nonce[0])));
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-robots-tag", "noindex"),
        ] {
            assert_eq!(first.header(name), value, "{name}");
        }
    });
}

#[test]
fn pages_have_no_inline_style_or_script() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for path in ["", "/help", "/preferences", "/changes?id=x", "/none"] {
            let answer = site.get(&format!("/audit{path}"), Lane::Admin).await;
            assert!(
                answer
                    .attributes("[style], [onclick], [onload]", "class")
                    .is_empty()
            );
            assert!(answer.texts("style").is_empty(), "{path}");
            assert!(
                answer.texts("script").iter().all(String::is_empty),
                "{path}"
            );
            assert_eq!(answer.texts("h1").len(), 1, "{path}");
            assert!(
                answer
                    .addresses()
                    .iter()
                    .all(|one| one.starts_with("/audit") || one == "#main")
            );
        }
    });
}

#[test]
fn assets_are_immutable_and_found_at_the_addresses_of_the_page() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let page = site.get("/audit", Lane::Admin).await;
        let mut addresses = page.attributes("link", "href");
        addresses.extend(page.attributes("script", "src"));
        assert_eq!(addresses.len(), 3);
        for address in addresses {
            let asset = site.get(&address, Lane::Support).await;
            assert_eq!(asset.status, StatusCode::OK, "{address}");
            assert!(asset.header("cache-control").contains("immutable"));
        }
    });
}

#[test]
fn forms_of_other_sites_and_forms_without_an_origin_are_refused() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for (name, value) in [
            ("x-nothing", "1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let mut request = request(
                Method::POST,
                "/audit/preferences",
                Lane::Admin,
                "theme=dark",
            );
            request.headers_mut().insert(name, value.parse().unwrap());
            let answer = site.send(request).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
        }
        for (name, value) in [
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://ops.example"),
        ] {
            let mut request = request(
                Method::POST,
                "/audit/preferences",
                Lane::Admin,
                "theme=dark",
            );
            request.headers_mut().insert(name, value.parse().unwrap());
            let answer = site.send(request).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}: {value}");
        }
    });
}

#[test]
fn other_sites_may_link_to_pages_and_not_embed_them() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let send = async |mode: &str, dest: &str| {
            let mut request = request(Method::GET, "/audit/help", Lane::Admin, "");
            for (name, value) in [
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ] {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            site.send(request).await.status
        };
        assert_eq!(send("navigate", "document").await, StatusCode::OK);
        assert_eq!(send("navigate", "iframe").await, StatusCode::FORBIDDEN);
        assert_eq!(send("no-cors", "image").await, StatusCode::FORBIDDEN);
        assert_eq!(send("cors", "empty").await, StatusCode::FORBIDDEN);
    });
}

#[test]
fn long_addresses_and_bodies_are_refused() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let long = "x".repeat(9_000);
        let answer = site
            .get(&format!("/audit/help?q={long}"), Lane::Admin)
            .await;
        assert_eq!(answer.status, StatusCode::URI_TOO_LONG);
        let form = format!("theme={}", long.repeat(2));
        let answer = site.post("/audit/preferences", Lane::Admin, &form).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    });
}

#[test]
fn pages_are_compressed() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let mut request = request(Method::GET, "/audit/help", Lane::Admin, "");
        request
            .headers_mut()
            .insert("accept-encoding", "gzip".parse().unwrap());
        let answer = site.send(request).await;
        assert_eq!(answer.header("content-encoding"), "gzip");
    });
}
