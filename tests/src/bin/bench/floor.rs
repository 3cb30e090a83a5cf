//! The floor: the very same writes for as many tenants, by a client that does nothing else.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use tests::measure::crowd::Model;

use crate::server::{Anything, PARALLEL};

/// Copies a tenant so many times; returns how long that took.
pub(crate) async fn copies(
    model: &Model,
    prefix: &str,
    count: usize,
) -> Result<Duration, Anything> {
    let begun = Instant::now();
    stream::iter(0..count)
        .map(|number| model.copy(format!("{prefix}-{number}"), |_| true))
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(begun.elapsed())
}
