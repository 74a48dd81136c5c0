//! Where the console is mounted.

use axum::Router;
use axum::http::StatusCode;

use crate::harness::{Lane, Site, Trail, block_on};

async fn all_links_are_below(site: &Site, address: &str, base: &str) {
    let answer = site.get(address, Lane::Admin).await;
    assert_eq!(answer.status, StatusCode::OK, "{address}");
    for link in answer.addresses().iter().filter(|link| *link != "#main") {
        assert!(link.starts_with(base), "{address}: {link}");
        let followed = site.get(link, Lane::Admin).await;
        assert!(
            matches!(followed.status.as_u16(), 200 | 422),
            "{link}: {}",
            followed.status
        );
    }
}

#[test]
fn links_follow_the_mount_also_with_a_parameter_in_it() {
    let trail = Trail::new();
    let console = trail.builder().build().unwrap();
    let site = Site::of(
        Router::new()
            .nest_service("/audit", console.clone())
            .nest_service("/t/{tenant}/audit", console.clone())
            .nest("/api", Router::new().nest_service("/deep", console)),
    );
    block_on(async {
        for base in ["/audit", "/t/acme/audit", "/api/deep"] {
            all_links_are_below(&site, base, base).await;
            all_links_are_below(&site, &format!("{base}/"), base).await;
            all_links_are_below(&site, &format!("{base}/help"), base).await;
        }
    });
}

#[test]
fn a_console_works_at_the_root_and_as_a_router() {
    let trail = Trail::new();
    let console = trail.builder().build().unwrap();
    let root = Site::of(console.clone().into_router());
    let nested = Site::of(Router::new().nest("/audit", console.into_router()));
    block_on(async {
        all_links_are_below(&root, "/", "/").await;
        all_links_are_below(&nested, "/audit", "/audit").await;
    });
}

#[test]
fn a_given_base_path_replaces_the_derived_one() {
    let trail = Trail::new();
    let console = trail.builder().base_path("/ops/audit/").build().unwrap();
    let site = Site::new(console);
    let answer = block_on(site.get("/audit/help", Lane::Admin));
    let links = answer.addresses();
    assert!(
        links
            .iter()
            .all(|link| link.starts_with("/ops/audit") || link == "#main")
    );
}
