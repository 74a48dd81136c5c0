//! Addresses of the Elixir edition.

use axum::http::StatusCode;

use crate::harness::{Lane, Trail, block_on};

#[test]
fn earlier_addresses_redirect_for_good_to_their_screens() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for (old, new) in [
            (
                "/rows/invoices/a%2Fb%20c",
                "/rows?table=invoices&key=a%2Fb+c",
            ),
            ("/actors/user/42", "/actors?actor=user%3A42"),
            ("/actors/anonymous/-", "/actors?actor=anonymous"),
            ("/transactions/abc", "/transactions?id=abc"),
            (
                "/transactions/abc/history/invoices/4",
                "/rows?table=invoices&key=4",
            ),
            ("/policy/redaction", "/redaction"),
            ("/policy/retention", "/retention"),
            (
                "/exports/changes.csv?table=invoices",
                "/download/changes.csv?table=invoices",
            ),
            ("/exports/download/abc", "/exports/file?id=abc"),
            (
                "/actions?actor_kind=user&actor_id=42&correlation_id=c+1&name=x&status=",
                "/actions?name=x&actor=user%3A42&correlation=c+1",
            ),
            (
                "/correlations?correlation_id=c",
                "/correlations?correlation=c",
            ),
        ] {
            let answer = site.get(&format!("/audit{old}"), Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT, "{old}");
            assert_eq!(answer.header("location"), format!("/audit{new}"), "{old}");
        }
    });
}
