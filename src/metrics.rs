//! What the service counts, for Prometheus. A label's value is a word of the code or of the catalog, or a table's name; never
//! the id of a user or of a thing, a room, or an address.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

/// Seconds: from half a millisecond, where a healthy way from commit to socket lies, to ten seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// How the listener learns of new changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorbellState {
    /// Idle: the next writer rings.
    Dozing,
    /// Sweeping without a pause; writers need not ring.
    Busy,
    /// Sweeping on a timer.
    Polling,
    /// No ring arrives over this connection, so it sweeps on a timer.
    Deaf,
}

impl DoorbellState {
    const ALL: [Self; 4] = [Self::Dozing, Self::Busy, Self::Polling, Self::Deaf];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dozing => "dozing",
            Self::Busy => "busy",
            Self::Polling => "polling",
            Self::Deaf => "deaf",
        }
    }
}

/// All of the service's metrics, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Labels: table, op.
    pub changes_swept: IntCounterVec,
    /// Label: type.
    pub events: IntCounterVec,
    pub deliveries: IntCounter,
    pub sockets: IntGauge,
    pub connections: IntGauge,
    /// Label: limit.
    pub refused: IntCounterVec,
    /// Label: reason.
    pub sockets_cut: IntCounterVec,
    /// Labels: message (`join`, `leave`, `ping`, `other`), result (`ok`, `refused`).
    pub client_messages: IntCounterVec,
    /// Of clients, for a reason: something has changed, or their time is over.
    pub sign_ins_in_doubt: IntGauge,
    /// How long the first of them has been.
    pub sign_in_doubt_seconds: IntGauge,
    pub sweep_seconds: Histogram,
    pub commit_to_emit_seconds: Histogram,
    pub log_bytes: IntGauge,
    pub log_oldest_seconds: IntGauge,
    pub log_over_limit: IntGauge,
    pub log_slots_emptied: IntCounter,
    doorbell_state: IntGaugeVec,
    pub doorbell_rings: IntCounter,
    pub capture_losses: IntCounter,
    pub dead_letters: IntCounter,
    pub rules_inactive: IntGauge,
    /// Label: schedule.
    pub scheduled_changes: IntCounterVec,
    /// Label: kind.
    pub notifications: IntCounterVec,
    pub visits_uncounted: IntCounter,
    pub cursor_saves: IntCounter,
    pub ready: IntGauge,
    pub standby: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        Self {
            changes_swept: counters(
                r,
                "rowcast_changes_swept_total",
                "Row changes read from the change log, by table and operation.",
                &["table", "op"],
            ),
            events: counters(
                r,
                "rowcast_events_total",
                "Events made of changes and handed to the gateway, by type, whether or not anyone listened.",
                &["type"],
            ),
            deliveries: counter(
                r,
                "rowcast_deliveries_total",
                "Events put into a connected client's send buffer; one event heard by three clients counts three.",
            ),
            sockets: gauge(r, "rowcast_sockets", "Clients that are connected now."),
            connections: gauge(
                r,
                "rowcast_connections",
                "Clients that count against the limits on connections: signed in, not yet, or refused a moment ago.",
            ),
            refused: counters(
                r,
                "rowcast_refused_total",
                "What a limit refused, by the limit's key in the configuration.",
                &["limit"],
            ),
            sockets_cut: counters(
                r,
                "rowcast_sockets_cut_total",
                "Connections that the server closed, by reason. slow: the client did not read fast enough and its send \
                 buffer filled; it reconnects by itself and resumes. resume: bringing it up to date failed. drain: it had \
                 not closed when the drain's time was over. standby: another instance captures. too_many_messages: it went on \
                 after it was refused.",
                &["reason"],
            ),
            client_messages: counters(
                r,
                "rowcast_client_messages_total",
                "Messages from clients, by kind, and whether they were carried out (ok) or answered with an error (refused).",
                &["message", "result"],
            ),
            sweep_seconds: histogram(r, "rowcast_sweep_seconds", "How long one read of the change log takes."),
            commit_to_emit_seconds: histogram(
                r,
                "rowcast_commit_to_emit_seconds",
                "From the change in the database to the moment its events are in the send buffers. Includes the time \
                 that a transaction stays open after the change.",
            ),
            log_bytes: gauge(r, "rowcast_log_bytes", "Size on disk of the change log with its indexes."),
            log_oldest_seconds: gauge(
                r,
                "rowcast_log_oldest_seconds",
                "Age of the oldest row of the change log. Grows beyond the retention when cleaning does not keep up.",
            ),
            log_over_limit: gauge(
                r,
                "rowcast_log_over_limit",
                "1 while the change log is above retention_bytes and something keeps it from being emptied, or Postgres refuses to; \
                 the service's log says what.",
            ),
            log_slots_emptied: counter(
                r,
                "rowcast_log_slots_emptied_total",
                "How often one of the three slots of the change log was emptied of what is past the retention.",
            ),
            doorbell_state: gauges(
                r,
                "rowcast_doorbell_state",
                "1 for the present state. dozing: idle, the next writer rings. busy: sweeping without a pause. polling: \
                 sweeping on a timer. deaf: notifications do not arrive (a transaction pooler in between?), so it \
                 sweeps on a timer.",
                &["state"],
            ),
            doorbell_rings: counter(
                r,
                "rowcast_doorbell_rings_total",
                "Notifications received from writers. Far fewer than changes is right: a busy listener is not rung.",
            ),
            capture_losses: counter(
                r,
                "rowcast_capture_losses_total",
                "Changes that the triggers could not record (log table missing, no privilege). Any is an alarm: clients \
                 were told to load anew.",
            ),
            dead_letters: counter(
                r,
                "rowcast_dead_letters_total",
                "Changes on which a rule failed; the change and the error are in rowcast.dead_letter.",
            ),
            sign_ins_in_doubt: gauge(
                r,
                "rowcast_sign_ins_in_doubt",
                "Connected clients whose sign-in is to be confirmed, since something has changed that it rests on.",
            ),
            sign_in_doubt_seconds: gauge(
                r,
                "rowcast_sign_in_doubt_seconds",
                "How long the first of them has been in doubt. Above 10 s they are cut off: the database does not answer.",
            ),
            rules_inactive: gauge(
                r,
                "rowcast_rules_inactive",
                "Rules of the catalog that do nothing since the database lacks their table or column: the log at the start names them.",
            ),
            scheduled_changes: counters(
                r,
                "rowcast_scheduled_changes_total",
                "Changes that schedules found and wrote to the change log, by schedule.",
                &["schedule"],
            ),
            notifications: counters(
                r,
                "rowcast_notifications_total",
                "Notifications that rules asked for, by kind. A change that is processed again counts again, though it \
                 writes nothing.",
                &["kind"],
            ),
            visits_uncounted: counter(
                r,
                "rowcast_visits_uncounted_total",
                "Joins that no count of visits or viewers includes: one connection came first to more rooms than are \
                 counted for it.",
            ),
            cursor_saves: counter(r, "rowcast_cursor_saves_total", "How often the cursor was made durable."),
            ready: gauge(
                r,
                "rowcast_ready",
                "1 when the service does its work; /readyz gives the reason when it is 0.",
            ),
            standby: gauge(r, "rowcast_standby", "1 while another instance holds the lease and this one waits for it."),
            registry,
        }
    }

    /// Exactly one state is 1.
    pub fn set_doorbell(&self, state: DoorbellState) {
        for each in DoorbellState::ALL {
            self.doorbell_state.with_label_values(&[each.as_str()]).set(i64::from(each == state));
        }
    }

    /// The text that Prometheus scrapes.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics of a registry encode as text")
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: Result<C, prometheus::Error>) -> C {
    let collector = collector.expect("metric names and labels are valid");
    registry.register(Box::new(collector.clone())).expect("each metric name is used once");
    collector
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doorbell_is_in_one_state_at_a_time() {
        let metrics = Metrics::new();
        metrics.set_doorbell(DoorbellState::Busy);
        metrics.set_doorbell(DoorbellState::Deaf);
        let text = metrics.encode();
        assert!(text.contains(r#"rowcast_doorbell_state{state="deaf"} 1"#), "{text}");
        for other in ["dozing", "busy", "polling"] {
            assert!(text.contains(&format!(r#"rowcast_doorbell_state{{state="{other}"}} 0"#)), "{text}");
        }
    }

    #[test]
    fn every_metric_is_named_after_the_service_and_has_a_help_text() {
        let metrics = Metrics::new();
        metrics.events.with_label_values(&["product:updated"]).inc();
        for family in metrics.registry.gather() {
            assert!(family.name().starts_with("rowcast_"), "{}", family.name());
            assert!(family.help().ends_with('.'), "{}", family.name());
        }
    }
}
