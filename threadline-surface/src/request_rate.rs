//! The limit on the requests of an actor.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use threadline_core::actor::ActorRef;

use crate::page_error::PageError;

/// The time in which requests are counted, from the first one.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// The number of actors whose requests are counted. If there are more, all counts start again.
const MAX_ACTORS: usize = 10_000;

/// The number of requests of each actor, and when the first one arrived.
#[derive(Debug, Default)]
pub(crate) struct RequestRates(Mutex<HashMap<ActorRef, (Instant, u32)>>);

impl RequestRates {
    /// Counts a request. Anonymous requests are not counted: they can be of different people.
    pub(crate) fn admit(&self, actor: Option<&ActorRef>, limit: u32) -> Result<(), PageError> {
        let Some(actor) = actor.filter(|actor| actor.id().is_some()) else {
            return Ok(());
        };
        let mut actors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if actors.len() >= MAX_ACTORS {
            actors.retain(|_, (first, _)| first.elapsed() < WINDOW);
        }
        if actors.len() >= MAX_ACTORS {
            actors.clear();
        }
        let (first, count) = actors.entry(actor.clone()).or_insert((Instant::now(), 0));
        if first.elapsed() >= WINDOW {
            (*first, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        if *count <= limit {
            return Ok(());
        }
        let left = WINDOW.saturating_sub(first.elapsed());
        Err(PageError::TooManyRequests {
            seconds: left.as_secs() + 1,
        })
    }
}
