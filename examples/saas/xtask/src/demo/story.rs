//! What happens in the demonstration.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::client::{Answer, Caller, Http};
use super::{STAFF_TOKEN, connect, heading};

/// How long a background job may take.
const JOB_LIMIT: Duration = Duration::from_secs(5);

/// Who plays.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) organization: String,
    pub(crate) alice: String,
    pub(crate) bob: String,
}

impl Cast {
    /// In a database where nobody else is.
    pub(crate) fn fresh() -> Self {
        Self::named("")
    }

    /// In a database where the demonstration may have been before.
    pub(crate) fn among_others() -> Self {
        Self::named(&format!("-{}", std::process::id()))
    }

    fn named(suffix: &str) -> Self {
        Self {
            organization: format!("Acme{suffix}"),
            alice: format!("alice{suffix}"),
            bob: format!("bob{suffix}"),
        }
    }
}

/// The story, told while it happens.
#[derive(Debug)]
pub(crate) struct Story<'a, W> {
    http: &'a Http,
    cast: &'a Cast,
    out: &'a mut W,
    requests: u32,
}

impl<'a, W: Write> Story<'a, W> {
    pub(crate) fn new(http: &'a Http, cast: &'a Cast, out: &'a mut W) -> Self {
        Self {
            http,
            cast,
            out,
            requests: 0,
        }
    }

    /// Tells it all. `change_in_bulk` does what is done behind the application's back.
    pub(crate) fn tell(
        mut self,
        change_in_bulk: impl FnOnce(i64) -> anyhow::Result<usize>,
    ) -> anyhow::Result<()> {
        heading(
            self.out,
            "What happens",
            "Members of an organization work with their invoices, over HTTP.",
        )?;
        let organization = self.organization_signs_up()?;
        let alice = self.log_in(&self.cast.alice)?;
        self.invite_bob(&alice)?;
        self.mistype_password(&self.cast.bob)?;
        let bob = self.log_in(&self.cast.bob)?;
        let invoices = self.issue_invoices(&alice)?;
        self.pay_twice(&bob, invoices[0])?;
        self.remind(&alice.within("order-7002"), invoices[1])?;
        self.change_address_and_password(&bob)?;
        self.support_takes_back(invoices[2])?;

        let rows = change_in_bulk(organization)?;
        writeln!(
            self.out,
            "  {:<16}{:<30}{rows} rows behind the application's back",
            "a psql session", "UPDATE invoices"
        )?;

        let leaving = json!({ "comment": "moves to another provider" });
        self.send(&alice, "POST", "/organization/close", &leaving, 200)?;
        Ok(())
    }

    fn organization_signs_up(&mut self) -> anyhow::Result<i64> {
        let sign_up = json!({
            "organization": self.cast.organization,
            "member": member(&self.cast.alice, "Alice"),
        });
        let answer = self.send(&Caller::unknown(), "POST", "/organizations", &sign_up, 201)?;
        id_in(&answer)
    }

    fn mistype_password(&mut self, handle: &str) -> anyhow::Result<()> {
        let attempt = json!({ "handle": handle, "password": "123456" });
        self.send(&Caller::unknown(), "POST", "/login", &attempt, 401)?;
        Ok(())
    }

    fn log_in(&mut self, handle: &str) -> anyhow::Result<Caller> {
        let attempt = json!({ "handle": handle, "password": password_of(handle) });
        let answer = self.send(&Caller::unknown(), "POST", "/login", &attempt, 200)?;
        let token = answer.body["token"].as_str().context("no token came")?;
        Ok(Caller::signed_in(handle, token))
    }

    fn invite_bob(&mut self, alice: &Caller) -> anyhow::Result<()> {
        let bob = member(&self.cast.bob, "Bob");
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
            let answer = self.send(&alice.within(order), "POST", "/invoices", &draft, 201)?;
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

    /// Asks for a reminder and waits until the job has sent it.
    fn remind(&mut self, alice: &Caller, invoice: i64) -> anyhow::Result<()> {
        let remind = format!("/invoices/{invoice}/remind");
        self.send(alice, "POST", &remind, &Value::Null, 202)?;
        let end = Instant::now() + JOB_LIMIT;
        let path = format!("/invoices/{invoice}");
        while Instant::now() < end {
            let answer = self.http.send(alice, "GET", &path, &Value::Null)?;
            if !answer.expect_status(200)?.body["reminded_on"].is_null() {
                let part_of = alice.correlation().unwrap_or_default();
                let job = "sends the reminder";
                writeln!(self.out, "  {:<16}{job:<45}{part_of}", "a job")?;
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        bail!("the reminder was not sent")
    }

    fn change_address_and_password(&mut self, bob: &Caller) -> anyhow::Result<()> {
        let address = format!("{}@home.example", self.cast.bob);
        let wishes = json!({ "email": address, "password": "correct horse" });
        self.send(bob, "PATCH", "/members/me", &wishes, 204)?;
        Ok(())
    }

    fn support_takes_back(&mut self, invoice: i64) -> anyhow::Result<()> {
        let rita = Caller::signed_in("rita", STAFF_TOKEN).acting_for(&self.cast.alice);
        let voiding = json!({ "reason": "wrong_customer", "comment": "ticket 4711" });
        let path = format!("/invoices/{invoice}/void");
        self.send(&rita, "POST", &path, &voiding, 200)?;
        Ok(())
    }

    fn send(
        &mut self,
        caller: &Caller,
        method: &str,
        path: &str,
        body: &Value,
        status: u16,
    ) -> anyhow::Result<Answer> {
        self.requests += 1;
        let request_id = format!("req-{:02}", self.requests);
        let caller = caller.asking(&request_id);
        let answer = self
            .http
            .send(&caller, method, path, body)?
            .expect_status(status)?;
        let request = format!("{method} {path}");
        let part_of = caller.correlation().unwrap_or_default();
        let line = format!(
            "  {:<16}{request:<30}{status}   {request_id}   {part_of}",
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

fn id_in(answer: &Answer) -> anyhow::Result<i64> {
    answer.body["id"].as_i64().context("no id came")
}

/// Gives ten percent off everything, from a session that tells nobody why.
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
