//! The server: `DATABASE_URL=postgres://… cargo run -p saas`.

use std::env;
use std::error::Error;
use std::fs;

use saas::app::App;
use saas::database;
use threadline::export::storage::Storages;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL to a postgres:// URL")?;
    let pool = database::pool(url)?;
    database::migrate(&pool).await?;
    // Files of exports, which the console offers for some days.
    let folder = env::var("EXPORT_DIR").unwrap_or_else(|_| "target/exports".to_owned());
    fs::create_dir_all(&folder)?;
    let app = App::new(pool, Storages::local(folder)?)?;
    if let Ok(token) = env::var("ADMIN_TOKEN") {
        app.sessions().open_for_admin(token, "admin")?;
    }
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!(
        "listening on http://{0}, the console on http://{0}/audit",
        listener.local_addr()?
    );
    app.serve(listener).await?;
    Ok(())
}
