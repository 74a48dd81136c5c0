//! The results as tables and as JSON.

use comfy_table::Table;
use serde::Serialize;

use crate::bulk::{self, Bulk};
use crate::clients::Throughput;
use crate::server::Facts;
use crate::small::{self, Small};
use crate::variant::Variant;

/// The results of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) facts: Facts,
    pub(crate) small: Vec<Small>,
    pub(crate) bulk: Vec<Bulk>,
    pub(crate) clients: Vec<Throughput>,
}

impl Report {
    /// A report without results.
    pub(crate) fn new(facts: Facts) -> Self {
        Self {
            facts,
            small: Vec::new(),
            bulk: Vec::new(),
            clients: Vec::new(),
        }
    }

    /// Microseconds per statement, minus those without capture.
    pub(crate) fn small_over(&self, workload: small::Workload, variant: Variant) -> f64 {
        let of = |variant| {
            let found = |one: &&Small| one.workload == workload && one.variant == variant;
            self.small.iter().find(found).map_or(0.0, |one| one.micros)
        };
        of(variant) - of(Variant::None)
    }

    /// Microseconds per row, minus those without capture.
    pub(crate) fn bulk_over(&self, workload: bulk::Workload, variant: Variant) -> f64 {
        let of = |variant| {
            let found = |one: &&Bulk| one.workload == workload && one.variant == variant;
            self.bulk.iter().find(found).map_or(0.0, |one| one.micros)
        };
        of(variant) - of(Variant::None)
    }

    /// The throughput as a share of the throughput without capture.
    pub(crate) fn share(&self, of: &Throughput) -> f64 {
        let base = self.clients.iter().find(|one| {
            one.variant == Variant::None
                && (one.clients, one.synchronous) == (of.clients, of.synchronous)
        });
        base.map_or(0.0, |base| of.tps / base.tps)
    }

    /// All tables, for a terminal.
    pub(crate) fn tables(&self) -> String {
        format!(
            "Single rows, microseconds per statement\n{}\n\n\
             Many rows, microseconds per row\n{}\n\n\
             Throughput, one update per transaction\n{}",
            self.small_table(),
            self.bulk_table(),
            self.clients_table()
        )
    }

    fn small_table(&self) -> Table {
        let mut table = Table::new();
        table.set_header([
            "workload",
            "capture",
            "us",
            "over none",
            "x none",
            "x common",
            "WAL B",
        ]);
        for one in &self.small {
            let over = self.small_over(one.workload, one.variant);
            let base = one.micros - over;
            table.add_row([
                one.workload.label().to_owned(),
                one.variant.label().to_owned(),
                format!("{:.1}", one.micros),
                format!("{over:.1}"),
                format!("{:.2}", one.micros / base),
                format!(
                    "{:.2}",
                    over / self.small_over(one.workload, Variant::Common)
                ),
                format!("{:.0}", one.wal),
            ]);
        }
        table
    }

    fn bulk_table(&self) -> Table {
        let mut table = Table::new();
        table.set_header([
            "workload",
            "capture",
            "us",
            "over none",
            "x none",
            "x common",
            "limit us",
            "x limit",
            "WAL B",
            "stored B",
        ]);
        for one in &self.bulk {
            let over = self.bulk_over(one.workload, one.variant);
            let base = one.micros - over;
            let limit = one.limit_micros;
            table.add_row([
                one.workload.label().to_owned(),
                one.variant.label().to_owned(),
                format!("{:.1}", one.micros),
                format!("{over:.1}"),
                format!("{:.2}", one.micros / base),
                format!(
                    "{:.2}",
                    over / self.bulk_over(one.workload, Variant::Common)
                ),
                limit.map_or_else(String::new, |limit| format!("{limit:.1}")),
                limit.map_or_else(String::new, |limit| format!("{:.1}", over / limit)),
                format!("{:.0}", one.wal),
                format!("{:.0}", one.stored),
            ]);
        }
        table
    }

    fn clients_table(&self) -> Table {
        let mut table = Table::new();
        table.set_header(["clients", "commit", "capture", "TPS", "share"]);
        for one in &self.clients {
            table.add_row([
                one.clients.to_string(),
                if one.synchronous {
                    "synchronous"
                } else {
                    "asynchronous"
                }
                .to_owned(),
                one.variant.label().to_owned(),
                format!("{:.0}", one.tps),
                format!("{:.2}", self.share(one)),
            ]);
        }
        table
    }
}
