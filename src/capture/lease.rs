//! The lease: one instance captures at a time, others stand by and take over when it falls free.

use std::time::Duration;

use tokio_postgres::Client;

use super::CaptureError;

/// How long an instance that stands by waits before it asks again.
pub const RETRY: Duration = Duration::from_millis(500);

/// The lock (1919907683, 2); 1919907683 is "rowc" in ASCII. It falls free when its connection ends; the keepalives of
/// the server and of ours bound how long a holder that is cut off can keep it.
const TRY: &str = "select pg_try_advisory_lock(1919907683, 2)";

/// Behind a pooler a session belongs to nobody, so there the lease is held by a transaction, which pins its server
/// connection. It reads nothing, so it holds no snapshot and hinders no vacuum.
const TRY_POOLED: &str = "select pg_try_advisory_xact_lock(1919907683, 2)";

const HOLDER: &str = "
select format('process %s (%s%s), since %s', a.pid, a.application_name, coalesce(' at ' || a.client_addr::text, ''),
              to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'))
from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.classid = 1919907683 and l.objid = 2 and l.granted
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())";

/// Tries to take the lease; `Err(holder)` inside says who has it.
pub async fn take(client: &Client, pooled: bool) -> Result<Result<(), String>, CaptureError> {
    if pooled {
        // A session that listens and stays in a transaction would hold up the NOTIFY queue of the whole cluster.
        client.batch_execute("unlisten *; commit; begin; set local idle_in_transaction_session_timeout = 0").await?;
    }
    let taken: bool = client.query_typed_one(if pooled { TRY_POOLED } else { TRY }, &[]).await?.try_get(0)?;
    if taken {
        return Ok(Ok(()));
    }
    let holder = match client.query_typed_opt(HOLDER, &[]).await? {
        Some(row) => row.try_get(0)?,
        None => "another instance".to_owned(),
    };
    if pooled {
        client.batch_execute("rollback").await?;
    }
    Ok(Err(holder))
}
