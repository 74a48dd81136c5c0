//! The requests of the demonstration.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::client::{Caller, Http, Response};
use super::{ADMIN_TOKEN, connect, heading};

/// The timeout for the background job.
const JOB_LIMIT: Duration = Duration::from_secs(5);

/// The names of the organization and its members.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) organization: String,
    pub(crate) alice: String,
    pub(crate) bob: String,
}

impl Names {
    /// Names for an empty database.
    pub(crate) fn plain() -> Self {
        Self::with_suffix("")
    }

    /// Names for a database that may have rows of an earlier demonstration.
    pub(crate) fn unique() -> Self {
        Self::with_suffix(&format!("-{}", std::process::id()))
    }

    fn with_suffix(suffix: &str) -> Self {
        Self {
            organization: format!("Acme{suffix}"),
            alice: format!("alice{suffix}"),
            bob: format!("bob{suffix}"),
        }
    }
}

/// Sends the requests and prints them.
#[derive(Debug)]
pub(crate) struct Story<'a, W> {
    http: &'a Http,
    names: &'a Names,
    out: &'a mut W,
    requests: u32,
}

impl<'a, W: Write> Story<'a, W> {
    pub(crate) fn new(http: &'a Http, names: &'a Names, out: &'a mut W) -> Self {
        Self {
            http,
            names,
            out,
            requests: 0,
        }
    }

    /// Sends all requests and returns the organization. `change_in_bulk` updates rows without the application.
    pub(crate) fn run(
        mut self,
        change_in_bulk: impl FnOnce(i64) -> anyhow::Result<usize>,
    ) -> anyhow::Result<i64> {
        heading(
            self.out,
            "Requests",
            "Members of an organization work with their invoices over HTTP.",
        )?;
        let organization = self.sign_up()?;
        let alice = self.log_in(&self.names.alice)?;
        self.invite_bob(&alice)?;
        self.fail_to_log_in(&self.names.bob)?;
        let bob = self.log_in(&self.names.bob)?;
        let invoices = self.issue_invoices(&alice)?;
        self.pay_twice(&bob, invoices[0])?;
        self.remind(&alice.with_correlation("order-7002"), invoices[1])?;
        self.change_address_and_password(&bob)?;
        self.void_for_member(invoices[2])?;

        let rows = change_in_bulk(organization)?;
        writeln!(
            self.out,
            "  {:<16}{:<30}{rows} rows, without the application",
            "a psql session", "UPDATE invoices"
        )?;

        let close = json!({ "comment": "moves to another provider" });
        self.send(&alice, "POST", "/organization/close", &close, 200)?;
        Ok(organization)
    }

    fn sign_up(&mut self) -> anyhow::Result<i64> {
        let request = json!({
            "organization": self.names.organization,
            "member": member(&self.names.alice, "Alice"),
        });
        let answer = self.send(
            &Caller::without_session(),
            "POST",
            "/organizations",
            &request,
            201,
        )?;
        id_in(&answer)
    }

    fn fail_to_log_in(&mut self, handle: &str) -> anyhow::Result<()> {
        let attempt = json!({ "handle": handle, "password": "123456" });
        self.send(&Caller::without_session(), "POST", "/login", &attempt, 401)?;
        Ok(())
    }

    fn log_in(&mut self, handle: &str) -> anyhow::Result<Caller> {
        let attempt = json!({ "handle": handle, "password": password_of(handle) });
        let answer = self.send(&Caller::without_session(), "POST", "/login", &attempt, 200)?;
        let token = answer.body["token"]
            .as_str()
            .context("the response has no token")?;
        Ok(Caller::with_session(handle, token))
    }

    fn invite_bob(&mut self, alice: &Caller) -> anyhow::Result<()> {
        let bob = member(&self.names.bob, "Bob");
        self.send(alice, "POST", "/members", &bob, 201)?;
        Ok(())
    }

    fn issue_invoices(&mut self, alice: &Caller) -> anyhow::Result<Vec<i64>> {
        let drafts = [
            ("order-7001", "Initech", 120_000),
            ("order-7002", "Globex", 89_900),
            ("order-7003", "Hooli", 45_000),
            ("order-7004", "Umbrella", 9_900),
        ];
        let mut invoices = Vec::new();
        for (order, customer, cents) in drafts {
            let draft = json!({
                "customer": customer,
                "due_on": "2026-12-31",
                "lines": [{ "description": "consulting", "amount_cents": cents }],
            });
            let answer = self.send(
                &alice.with_correlation(order),
                "POST",
                "/invoices",
                &draft,
                201,
            )?;
            invoices.push(id_in(&answer)?);
        }
        Ok(invoices)
    }

    fn pay_twice(&mut self, bob: &Caller, invoice: i64) -> anyhow::Result<()> {
        let pay = format!("/invoices/{invoice}/pay");
        self.send(bob, "POST", &pay, &Value::Null, 200)?;
        self.send(bob, "POST", &pay, &Value::Null, 409)?;
        Ok(())
    }

    /// Requests a reminder and waits until the job has sent it.
    fn remind(&mut self, alice: &Caller, invoice: i64) -> anyhow::Result<()> {
        let remind = format!("/invoices/{invoice}/remind");
        self.send(alice, "POST", &remind, &Value::Null, 202)?;
        let end = Instant::now() + JOB_LIMIT;
        let path = format!("/invoices/{invoice}");
        while Instant::now() < end {
            let answer = self.http.send(alice, "GET", &path, &Value::Null)?;
            if !answer.expect_status(200)?.body["reminded_on"].is_null() {
                let correlation = alice.correlation().unwrap_or_default();
                let job = "sends the reminder";
                writeln!(self.out, "  {:<16}{job:<45}{correlation}", "a job")?;
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        bail!("the reminder was not sent")
    }

    fn change_address_and_password(&mut self, bob: &Caller) -> anyhow::Result<()> {
        let address = format!("{}@home.example", self.names.bob);
        let update = json!({ "email": address, "password": "correct horse" });
        self.send(bob, "PATCH", "/members/me", &update, 204)?;
        Ok(())
    }

    fn void_for_member(&mut self, invoice: i64) -> anyhow::Result<()> {
        let rita = Caller::with_session("rita", ADMIN_TOKEN).acting_for(&self.names.alice);
        let reason = json!({ "reason": "wrong_customer", "comment": "ticket 4711" });
        let path = format!("/invoices/{invoice}/void");
        self.send(&rita, "POST", &path, &reason, 200)?;
        Ok(())
    }

    fn send(
        &mut self,
        caller: &Caller,
        method: &str,
        path: &str,
        body: &Value,
        status: u16,
    ) -> anyhow::Result<Response> {
        self.requests += 1;
        let request_id = format!("req-{:02}", self.requests);
        let caller = caller.with_request_id(&request_id);
        let answer = self
            .http
            .send(&caller, method, path, body)?
            .expect_status(status)?;
        let request = format!("{method} {path}");
        let correlation = caller.correlation().unwrap_or_default();
        let line = format!(
            "  {:<16}{request:<30}{status}   {request_id}   {correlation}",
            caller.name
        );
        writeln!(self.out, "{}", line.trim_end())?;
        Ok(answer)
    }
}

fn member(handle: &str, name: &str) -> Value {
    json!({
        "handle": handle,
        "name": name,
        "email": format!("{handle}@acme.example"),
        "password": password_of(handle),
    })
}

fn password_of(handle: &str) -> String {
    format!("{handle}'s secret")
}

fn id_in(answer: &Response) -> anyhow::Result<i64> {
    answer.body["id"].as_i64().context("the response has no id")
}

/// Reduces the totals of all invoices by ten percent in a session that sets no actor.
pub(crate) async fn change_in_bulk(url: &str, organization: i64) -> anyhow::Result<usize> {
    let mut conn = connect(url).await?;
    let rows = diesel::sql_query(
        "UPDATE invoices SET total_cents = total_cents * 9 / 10 WHERE organization_id = $1",
    )
    .bind::<BigInt, _>(organization)
    .execute(&mut conn)
    .await?;
    Ok(rows)
}
