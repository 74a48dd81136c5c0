//! Background work on the trail: exports, their schedules, and checks, by a worker in this process.

use std::error::Error;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use threadline::evidence::{Check, CheckOptions, EvidenceError, EvidencePlan, days};
use threadline::export::Worker;
use threadline::export::connections::PoolError;
use threadline::export::jobs::{CheckHandler, ScopeResolver};
use threadline::export::storage::Storages;
use threadline::retention::RetentionPolicy;
use threadline::{ActorRef, Scope};

use crate::console::organization_scope;
use crate::database::Pool;

/// The plan of checks. In production it also names the role of the application.
pub(crate) fn evidence_plan(retention: RetentionPolicy) -> Result<EvidencePlan, EvidenceError> {
    let options = CheckOptions::registered()?.retention(retention);
    Ok(EvidencePlan::new(options)
        .every(Check::Coverage, days(1))
        .every(Check::Policy, days(1))
        .every(Check::Continuity, days(1))
        .every(Check::Retention, days(7)))
}

/// Starts the worker. It ends with the runtime.
pub(crate) fn start_worker(pool: Pool, storages: Storages, plan: EvidencePlan) {
    let worker = Worker::builder(pool)
        .storages(storages)
        .scope_resolver(OrganizationScopes)
        .handler(CheckHandler::new(plan))
        .build();
    tokio::spawn(async move { worker.run(std::future::pending()).await });
}

/// The key of the scope of an organization.
pub(crate) fn scope_key(organization_id: i64) -> String {
    format!("organization:{organization_id}")
}

/// Resolves the keys of [`scope_key`]. An application with stored staff roles also checks here that the actor
/// still has the role.
#[derive(Debug)]
struct OrganizationScopes;

impl ScopeResolver for OrganizationScopes {
    fn resolve<'a>(
        &'a self,
        _actor: Option<&'a ActorRef>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Scope, PoolError>> {
        async move { resolve(key) }.boxed()
    }
}

fn resolve(key: &str) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    let id = key.strip_prefix("organization:");
    let id = id.ok_or("the key names no organization")?.parse()?;
    Ok(organization_scope(id)?)
}
