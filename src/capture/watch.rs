//! The listener at work: awake it sweeps, and when there is nothing it dozes by the doorbell.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    CaptureError, Sink,
    cursor::SAVE_INTERVAL,
    doorbell::{CHECK_INTERVAL, Doorbell, Hearing},
    progress::Listener,
};
use crate::metrics::DoorbellState;

/// The window over which rings are counted.
const RING_WINDOW: Duration = Duration::from_millis(200);
/// While busy, so many sweeps in a row must find nothing before it tries to doze.
const IDLE_SWEEPS: u32 = 8;
/// While it waits for the doorbell's lock behind a long transaction it sweeps in between, at pauses that grow.
const WAITING_FIRST: Duration = Duration::from_millis(1);
const WAITING_LAST: Duration = Duration::from_millis(20);
/// How long the answer that the lock is ours may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// Why a nap ended.
enum Woken {
    Rung(u64),
    ByItself,
    Stopped,
}

/// Watches until `stop`, then saves the cursor.
pub async fn watch<S: Sink>(
    mut bell: Doorbell,
    mut listener: Listener<'_, S>,
    stop: &CancellationToken,
) -> Result<(), CaptureError> {
    while !stop.is_cancelled() {
        match bell.hearing() {
            Hearing::Doorbell => awake_then_doze(&mut bell, &mut listener, stop).await?,
            Hearing::Timer | Hearing::QueueFull => {
                by_timer(DoorbellState::Polling, &mut bell, &mut listener, stop).await?;
            }
            Hearing::Deaf => by_timer(DoorbellState::Deaf, &mut bell, &mut listener, stop).await?,
        }
    }
    listener.finish().await
}

/// Sweeps on a timer.
async fn by_timer<S: Sink>(
    state: DoorbellState,
    bell: &mut Doorbell,
    listener: &mut Listener<'_, S>,
    stop: &CancellationToken,
) -> Result<(), CaptureError> {
    listener.metrics().set_doorbell(state);
    while !stop.is_cancelled() {
        listener.sweep(stop).await?;
        bell.check().await?;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(listener.options().timer_interval) => {}
        }
    }
    Ok(())
}

/// Sweeps until there is nothing left, then dozes until writers ring too often.
///
/// Rung at a low rate it keeps the lock, so each ring costs one sweep and nothing else. Rung often it lets the lock go:
/// then nobody rings, and no commit waits for the lock that NOTIFY takes.
async fn awake_then_doze<S: Sink>(
    bell: &mut Doorbell,
    listener: &mut Listener<'_, S>,
    stop: &CancellationToken,
) -> Result<(), CaptureError> {
    listener.metrics().set_doorbell(DoorbellState::Busy);
    let mut idle = 0;
    while idle < IDLE_SWEEPS && !stop.is_cancelled() {
        let began = tokio::time::Instant::now();
        idle = if listener.sweep(stop).await? == 0 { idle + 1 } else { 0 };
        tokio::time::sleep_until(began + listener.options().busy_interval).await;
    }
    if !take_lock(bell, listener, stop).await? {
        return Ok(());
    }
    listener.metrics().set_doorbell(DoorbellState::Dozing);
    let limit = (f64::from(listener.options().busy_rings_per_second) * RING_WINDOW.as_secs_f64()) as usize;
    loop {
        // The first of these sweeps sees the writers that shared the lock until we got it.
        listener.sweep(stop).await?;
        bell.check().await?;
        match nap(bell, listener, stop).await? {
            Woken::Stopped => break,
            Woken::ByItself => {}
            Woken::Rung(rings) => {
                listener.metrics().doorbell_rings.inc_by(rings);
                if bell.rings_exceed(rings, limit, RING_WINDOW) {
                    break;
                }
            }
        }
    }
    bell.unlock().await
}

/// Takes the doorbell's lock, sweeping while it waits; false if told to stop meanwhile.
async fn take_lock<S: Sink>(
    bell: &Doorbell,
    listener: &mut Listener<'_, S>,
    stop: &CancellationToken,
) -> Result<bool, CaptureError> {
    let lock = bell.lock();
    tokio::pin!(lock);
    let mut pause = WAITING_FIRST;
    let mut checked_at = tokio::time::Instant::now();
    loop {
        if checked_at.elapsed() > CHECK_INTERVAL {
            checked_at = tokio::time::Instant::now();
            if !bell.waits(listener.connection()).await? {
                let taken = tokio::time::timeout(ON_ITS_WAY, &mut lock).await;
                return taken.map_err(|_| CaptureError::Timeout("taking the doorbell's lock"))?.map(|()| true);
            }
        }
        tokio::select! {
            biased;
            taken = &mut lock => return taken.map(|()| true),
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(pause) => {}
        }
        let found = listener.sweep(stop).await?;
        pause = if found > 0 { WAITING_FIRST } else { (pause * 2).min(WAITING_LAST) };
    }
}

async fn nap<S: Sink>(
    bell: &mut Doorbell,
    listener: &Listener<'_, S>,
    stop: &CancellationToken,
) -> Result<Woken, CaptureError> {
    let longest = listener.options().fallback_interval;
    let nap = if listener.is_saved() { longest } else { longest.min(SAVE_INTERVAL) };
    tokio::select! {
        rings = bell.rung() => Ok(Woken::Rung(rings?)),
        () = stop.cancelled() => Ok(Woken::Stopped),
        () = tokio::time::sleep(nap) => Ok(Woken::ByItself),
    }
}
