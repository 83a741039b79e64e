//! What happens by itself: queues whose time has come, and the look at memory and disk.

use crate::alarms::{Alarms, Thresholds};
use crate::clock::Clock;
use crate::config::Config;
use crate::process_view::ProcessView;
use crate::resources;
use leveret_node::Node;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// Calls the node whenever something in it is due. Runs until it is dropped.
pub(crate) async fn deadlines(node: Arc<Node>, clock: Arc<Clock>) {
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    std::future::poll_fn::<(), _>(|context| {
        loop {
            let Some(at) = node.next_deadline(context.waker()) else { return Poll::Pending };
            let now = clock.now();
            if at <= now {
                node.tick(now);
                // Other tasks of this thread have their turn before the next one.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            sleep.as_mut().reset(clock.instant(at));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Adds to the samples from which management makes rates. Runs until it is dropped.
pub(crate) async fn samples(state: leveret_management::State, clock: Arc<Clock>) {
    let mut interval = tokio::time::interval(leveret_management::ROUND_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // With many queues it takes some milliseconds, which no connection is to wait for. Not on a thread of its own:
        // a round must be over when this task is, since it holds what is closed next.
        tokio::task::block_in_place(|| state.samples.take(&*state.registry, clock.now()));
    }
}

/// Looks at memory, disk and descriptors and raises or clears the alarms. Runs until it is dropped.
pub(crate) async fn alarms(node: Arc<Node>, view: Arc<ProcessView>, config: Arc<Config>) {
    let thresholds = view.thresholds();
    let mut interval =
        tokio::time::interval(Duration::from_millis(config.resources.monitor_interval));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Alarms::default();
    loop {
        interval.tick().await;
        let alarms = look(&node, &view, view.data_dir(), thresholds);
        tell(before, alarms, &view, thresholds);
        before = alarms;
    }
}

/// One look; the node is told what is on.
pub(crate) fn look(
    node: &Node,
    view: &ProcessView,
    data_dir: &Path,
    thresholds: Thresholds,
) -> Alarms {
    let readings = resources::read(data_dir);
    let alarms = Alarms::of(&readings, thresholds);
    view.note(readings, alarms);
    node.set_alarm(alarms.reason());
    alarms
}

fn tell(before: Alarms, now: Alarms, view: &ProcessView, thresholds: Thresholds) {
    let readings = view.readings();
    if now.memory != before.memory {
        let (used, limit) = (readings.memory_used, thresholds.memory);
        if now.memory {
            warn!(used, limit, "memory alarm on: clients that publish are not read");
        } else {
            info!(used, limit, "memory alarm off");
        }
    }
    if now.disk != before.disk {
        let (free, limit) = (readings.disk_free.unwrap_or(0), thresholds.disk);
        if now.disk {
            warn!(free, limit, "disk alarm on: clients that publish are not read");
        } else {
            info!(free, limit, "disk alarm off");
        }
    }
}
