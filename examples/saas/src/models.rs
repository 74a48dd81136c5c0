//! The tables as structs, and what of them reaches the trail.

use chrono::NaiveDate;
use diesel::dsl::{AsSelect, auto_type};
use diesel::pg::Pg;
use diesel::prelude::*;
use serde::Serialize;
use threadline::Audited;

use crate::password::PasswordHash;
use crate::schema::{invoice_lines, invoices, members, organizations};

/// A customer of ours.
#[derive(Debug, Serialize, Identifiable, Queryable, Selectable, Audited)]
#[diesel(table_name = organizations, check_for_backend(Pg))]
pub struct Organization {
    /// Given by the database.
    pub id: i64,
    /// Unique.
    pub name: String,
    /// When it left us.
    pub closed_on: Option<NaiveDate>,
}

/// An organization to be.
#[derive(Debug, Insertable)]
#[diesel(table_name = organizations)]
pub struct NewOrganization<'a> {
    /// Unique.
    pub name: &'a str,
}

/// A person who works for an organization. The trail tells that somebody's address changed, but
/// not to what, and knows nothing of passwords.
#[derive(Debug, Identifiable, Insertable, Queryable, Selectable, Audited)]
#[diesel(table_name = members, primary_key(handle), check_for_backend(Pg))]
pub struct Member {
    /// How they sign in.
    pub handle: String,
    /// Whom they work for.
    pub organization_id: i64,
    /// What they are called.
    pub name: String,
    /// Where they are written to.
    #[audited(mask)]
    pub email: String,
    /// What their password is checked against.
    #[audited(exclude)]
    pub password_hash: PasswordHash,
}

/// What somebody changes about themselves.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = members)]
pub struct MemberChanges {
    /// Where they want to be written to.
    pub email: Option<String>,
    /// What their new password is checked against.
    pub password_hash: Option<PasswordHash>,
}

impl MemberChanges {
    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.email.is_none() && self.password_hash.is_none()
    }
}

/// What an organization asks of a customer of its own.
#[derive(Debug, Serialize, Identifiable, Queryable, Selectable, Audited)]
#[diesel(table_name = invoices, check_for_backend(Pg))]
pub struct Invoice {
    /// Given by the database.
    pub id: i64,
    /// Who asks.
    pub organization_id: i64,
    /// Who is to pay.
    pub customer: String,
    /// The sum of its lines.
    pub total_cents: i64,
    /// By when.
    pub due_on: NaiveDate,
    /// When the customer was last reminded.
    pub reminded_on: Option<NaiveDate>,
    /// When it was paid.
    pub paid_on: Option<NaiveDate>,
    /// When it was taken back.
    pub voided_on: Option<NaiveDate>,
}

impl Invoice {
    /// An organization's invoice.
    #[must_use]
    #[auto_type(no_type_alias)]
    pub fn of(organization_id: i64, id: i64) -> _ {
        let columns: AsSelect<Invoice, Pg> = Invoice::as_select();
        invoices::table
            .find(id)
            .filter(invoices::organization_id.eq(organization_id))
            .select(columns)
    }

    /// An organization's invoices that are neither paid nor void, oldest first.
    #[must_use]
    #[auto_type(no_type_alias)]
    pub fn open_of(organization_id: i64) -> _ {
        let columns: AsSelect<Invoice, Pg> = Invoice::as_select();
        invoices::table
            .filter(invoices::organization_id.eq(organization_id))
            .filter(invoices::paid_on.is_null())
            .filter(invoices::voided_on.is_null())
            .order(invoices::id)
            .select(columns)
    }
}

/// An invoice to be.
#[derive(Debug, Insertable)]
#[diesel(table_name = invoices)]
pub struct NewInvoice<'a> {
    /// Who asks.
    pub organization_id: i64,
    /// Who is to pay.
    pub customer: &'a str,
    /// The sum of its lines.
    pub total_cents: i64,
    /// By when.
    pub due_on: NaiveDate,
}

/// A line of an invoice.
#[derive(Debug, Identifiable, Insertable, Queryable, Selectable, Audited)]
#[diesel(table_name = invoice_lines, primary_key(invoice_id, line_no))]
#[diesel(check_for_backend(Pg))]
pub struct InvoiceLine {
    /// The invoice.
    pub invoice_id: i64,
    /// Its place on the invoice, from 1.
    pub line_no: i32,
    /// What for.
    pub description: String,
    /// How much.
    pub amount_cents: i64,
}
