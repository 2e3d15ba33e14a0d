//! What goes on beside the way of a change: no event waits for any of it.
//!
//! | file | role |
//! |---|---|
//! | `schedules` | SQL that is run now and then, whose news goes to the change log |
//! | `announcements` | one row for all becomes a notification for each |
//! | `waiting` | who came to a room for something that wasn't there |
//! | `moments` | what only the gateway knows, through the rules |
//! | `upkeep` | deletes what is too old |
//!
//! And the gateway confirms the sign-ins of who is connected.

mod announcements;
mod moments;
mod schedules;
mod upkeep;
mod waiting;

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::{
    announcements::Announcements, moments::Moments, schedules::Schedules, upkeep::Upkeep, waiting::WaitingLists,
};
use crate::{
    catalog::Catalog,
    config::Config,
    gateway::{Gateway, GatewayConfig},
    metrics::Metrics,
};

/// Runs all of it until `stop`.
pub fn run(
    config: &Config,
    catalog: &Arc<Catalog>,
    pool: &PgPool,
    gateway: &Gateway,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let schedules =
        Schedules { catalog: catalog.clone(), pool: pool.clone(), gateway: gateway.clone(), metrics: metrics.clone() };
    let waiting = WaitingLists { catalog: catalog.clone(), pool: pool.clone(), gateway: gateway.clone() };
    let GatewayConfig { presence_grace, presence_interval, .. } = config.gateway;
    let moments = Moments::new(catalog.clone(), pool.clone(), gateway.clone(), presence_grace, presence_interval);
    let lasting = catalog.schedules().iter().filter(|schedule| !schedule.is_complete());
    let lasting_schedules = lasting.map(|schedule| schedule.name.clone()).collect();
    let upkeep = Upkeep {
        pool: pool.clone(),
        inbox: config.inbox.clone(),
        log_retention: config.capture.retention,
        lasting_schedules,
    };
    let announcements = Announcements { catalog: catalog.clone(), pool: pool.clone(), gateway: gateway.clone() };
    let (gateway, stop) = (gateway.clone(), stop.clone());
    async move {
        tokio::join!(
            schedules.run(stop.clone()),
            waiting.run(stop.clone()),
            moments.run(stop.clone()),
            announcements.run(stop.clone()),
            upkeep.run(stop.clone()),
            gateway.keep_standing(stop.clone()),
        );
    }
}
