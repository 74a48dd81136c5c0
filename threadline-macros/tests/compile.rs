//! Models that compile, and the errors of those that do not.
//!
//! `TRYBUILD=overwrite cargo test -p threadline-macros --test compile` updates the expected errors.

#[test]
fn models_compile_or_fail_with_the_expected_errors() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
