//! A connection to Postgres, owned together with the task that drives it.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::{sync::watch, task::AbortHandle};
use tokio_postgres::{AsyncMessage, Client};

use super::CaptureError;
use crate::{database_url::Target, tls};

/// How long Postgres may take to answer what is asked in passing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that is gone is noticed after idle + retries * interval, about ten seconds.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(4);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// A client and its driver. The driver ends when the connection does, or when this is dropped.
pub struct Connection {
    client: Client,
    driver: AbortHandle,
    /// Counts notifications; closed when the connection ends.
    notifications: watch::Receiver<u64>,
    ended: Arc<std::sync::Mutex<Option<String>>>,
}

impl Connection {
    /// Connects, and names the connection `purpose` in `pg_stat_activity`.
    pub async fn open(database: &Target, purpose: &str) -> Result<Self, CaptureError> {
        let Target { mut config, tls } = database.clone();
        config
            .application_name(format!("rowcast {purpose}"))
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(TCP_USER_TIMEOUT);
        // The timeout of the configuration covers the TCP connection alone, not a server that then says nothing.
        let (client, mut connection) = tokio::time::timeout(2 * CONNECT_TIMEOUT, config.connect(tls))
            .await
            .map_err(|_| CaptureError::Timeout("connecting to Postgres"))?
            .map_err(CaptureError::Connect)?;

        let (count, notifications) = watch::channel(0);
        let ended = Arc::new(std::sync::Mutex::new(None));
        let reason = Arc::clone(&ended);
        let driver = tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => count.send_modify(|count| *count += 1),
                    Some(Ok(AsyncMessage::Notice(notice))) => tracing::debug!(%notice, "Postgres says"),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        *reason.lock().expect("nobody panics holding it") = Some(describe(&error));
                        break;
                    }
                    None => break,
                }
            }
        });
        Ok(Self { client, driver: driver.abort_handle(), notifications, ended })
    }

    /// Counts the notifications that arrived; `changed()` fails once the connection has ended.
    pub fn notifications(&self) -> watch::Receiver<u64> {
        self.notifications.clone()
    }

    /// The error for a connection that has ended.
    pub fn ended(&self) -> CaptureError {
        let reason = self.ended.lock().expect("nobody panics holding it").clone();
        CaptureError::Ended(reason.unwrap_or_else(|| "the server closed it".into()))
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What Postgres answers, unless it takes too long: then the connection counts as gone.
///
/// The timeouts of TCP see a peer that has vanished only where nothing in between goes on answering for it.
pub async fn in_time<T, E>(doing: &'static str, answer: impl Future<Output = Result<T, E>>) -> Result<T, CaptureError>
where
    CaptureError: From<E>,
{
    // Boxed, since some are large.
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, Box::pin(answer)).await;
    Ok(answer.map_err(|_| CaptureError::Timeout(doing))??)
}

/// The message of Postgres itself where there is one: tokio-postgres prints just "db error".
pub fn describe(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    if let Some(complaint) = tls::complaint(error) {
        return complaint;
    }
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => match db.hint() {
            Some(hint) => format!("{} ({}): {hint}", db.message(), db.code().code()),
            None => format!("{} ({})", db.message(), db.code().code()),
        },
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
