//! Puts the storage schema, fixed at build time, into the `table!` declarations.

use std::path::Path;
use std::{env, error, fs};

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-env-changed=THREADLINE_STORAGE_SCHEMA");
    println!("cargo::rerun-if-changed=src/tables.rs");
    let schema =
        env::var("THREADLINE_STORAGE_SCHEMA").unwrap_or_else(|_| String::from("threadline"));
    let tables = fs::read_to_string("src/tables.rs")?;
    let placed = tables.replace("threadline_storage.", &format!("{schema}."));
    fs::write(Path::new(&env::var("OUT_DIR")?).join("tables.rs"), placed)?;
    Ok(())
}
