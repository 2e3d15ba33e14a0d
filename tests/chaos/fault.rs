//! The faults, one by one.

use std::{net::IpAddr, time::Duration};

use rowcast::failpoint::Failpoint;

use crate::{
    World,
    cluster::{APPLICATION, GATEWAY, Mode, connect, url_for},
    load::DATABASE,
    services::write_hosts,
    support::proxy::Way,
};

/// How long a failpoint may take to be come to.
const HIT_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    PostgresRestarted,
    PostgresCrashed,
    BackendKilled,
    FailedOver,
    FailedOverBehind,
    HalfOpen(Way),
    Silent,
    Cut,
    SlowNetwork,
    AddressChanged,
    Terminated,
    Timeouts,
    TooManyConnections,
    LogFull,
    LogGone,
    Killed,
    BothKilled,
    Stopped,
    Frozen,
    Failpoint { point: Failpoint, abort: bool },
}

impl Fault {
    /// Each kind of fault once. What can't be done here is left out, and `can_move` says so of the address.
    pub fn all(can_move: bool, rng: &mut fastrand::Rng) -> Vec<Self> {
        let mut all = vec![
            Self::PostgresRestarted,
            Self::PostgresCrashed,
            Self::BackendKilled,
            Self::FailedOver,
            Self::FailedOverBehind,
            Self::HalfOpen(Way::ToPostgres),
            Self::HalfOpen(Way::FromPostgres),
            Self::Silent,
            Self::Cut,
            Self::SlowNetwork,
            Self::Terminated,
            Self::Timeouts,
            Self::TooManyConnections,
            Self::LogFull,
            Self::LogGone,
            Self::Killed,
            Self::BothKilled,
            Self::Stopped,
            Self::Frozen,
        ];
        if can_move {
            all.push(Self::AddressChanged);
        }
        // One of the two in each round; and where the order of writing matters most, both.
        all.extend(Failpoint::ALL.map(|point| Self::Failpoint { point, abort: rng.bool() }));
        all.extend([true, false].map(|abort| Self::Failpoint { point: Failpoint::Delivered, abort }));
        all
    }

    pub fn name(self) -> String {
        match self {
            Self::PostgresRestarted => "Postgres restarted",
            Self::PostgresCrashed => "Postgres crashed (immediate)",
            Self::BackendKilled => "kill -9 of a backend",
            Self::FailedOver => "failover, synchronous",
            Self::FailedOverBehind => "failover, replica left behind",
            Self::HalfOpen(Way::ToPostgres) => "half-open to Postgres",
            Self::HalfOpen(Way::FromPostgres) => "half-open from Postgres",
            Self::Silent => "network silent until we give up",
            Self::Cut => "connections cut",
            Self::SlowNetwork => "slow network",
            Self::AddressChanged => "Postgres' address changed (DNS)",
            Self::Terminated => "each backend terminated",
            Self::Timeouts => "role with tiny timeouts",
            Self::TooManyConnections => "too many connections",
            Self::LogFull => "log's disk full",
            Self::LogGone => "log unusable, changes lost",
            Self::Killed => "kill -9 of the active",
            Self::BothKilled => "kill -9 of both",
            Self::Stopped => "SIGTERM of the active",
            Self::Frozen => "active frozen (SIGSTOP)",
            Self::Failpoint { point, abort } => {
                return format!("failpoint {}, {}", point.as_str(), if abort { "abort" } else { "error" });
            }
        }
        .to_owned()
    }

    /// Whether pages can't be spared to load anew: changes are lost, or may be.
    ///
    /// A crash moves the count of losses on, if there ever were any: sequences are logged 32 numbers ahead.
    pub fn makes_pages_load_anew(self, losses_before: bool) -> bool {
        match self {
            Self::FailedOver | Self::FailedOverBehind | Self::LogGone => true,
            Self::PostgresCrashed | Self::BackendKilled => losses_before,
            _ => false,
        }
    }

    /// Does it, to its end.
    pub async fn inject(self, world: &mut World) -> Result<(), String> {
        let millis = |world: &mut World, range: std::ops::Range<u64>| Duration::from_millis(world.rng.u64(range));
        match self {
            Self::PostgresRestarted => world.cluster.restart(Mode::Fast).await,
            Self::PostgresCrashed => world.cluster.restart(Mode::Immediate).await,
            Self::BackendKilled => kill_backend(world).await,
            Self::FailedOver => {
                world.cluster.make_replica().await?;
                world.fail_over().await
            }
            Self::FailedOverBehind => {
                world.cluster.make_replica().await?;
                world.cluster.leave_replica_behind().await?;
                world.more_is_heard(60).await?;
                world.fail_over().await
            }
            Self::HalfOpen(way) => {
                let pause = millis(world, 3_000..8_000);
                world.proxies.iter().for_each(|proxy| proxy.stop(way));
                tokio::time::sleep(pause).await;
                world.proxies.iter().for_each(|proxy| {
                    proxy.cut();
                    proxy.go_on();
                });
                Ok(())
            }
            Self::Silent => {
                // The connections that there are stay silent for good; only new ones work.
                world.proxies.iter().for_each(|proxy| proxy.forsake());
                Ok(())
            }
            Self::Cut => {
                for _ in 0..world.rng.u32(1..4) {
                    world.proxies.iter().for_each(|proxy| proxy.cut());
                    tokio::time::sleep(millis(world, 0..400)).await;
                }
                Ok(())
            }
            Self::SlowNetwork => {
                let (delay, pause) = (millis(world, 50..250), millis(world, 2_000..4_000));
                world.proxies.iter().for_each(|proxy| proxy.delay(delay));
                tokio::time::sleep(pause).await;
                world.proxies.iter().for_each(|proxy| proxy.delay(Duration::ZERO));
                Ok(())
            }
            Self::AddressChanged => {
                let hosts = world.hosts.clone().ok_or("there is no file of hosts")?;
                world.moves += 1;
                let address = IpAddr::from([127, 0, 0, 2 + (world.moves % 200) as u8]);
                write_hosts(&hosts, &address.to_string()).map_err(|error| error.to_string())?;
                for proxy in &world.proxies {
                    proxy.move_to(address).await.map_err(|error| error.to_string())?;
                }
                Ok(())
            }
            Self::Terminated => terminate_each(world).await,
            Self::Timeouts => {
                let admin = world.cluster.admin().await?;
                let tiny = [
                    "statement_timeout = '20ms'",
                    "lock_timeout = '5ms'",
                    "idle_in_transaction_session_timeout = '50ms'",
                ];
                for setting in tiny {
                    execute(&admin, &format!("alter role {GATEWAY} set {setting}")).await?;
                }
                terminate_each(world).await?;
                let pause = millis(world, 2_000..4_000);
                tokio::time::sleep(pause).await;
                execute(&admin, &format!("alter role {GATEWAY} reset all")).await
            }
            Self::TooManyConnections => too_many_connections(world).await,
            Self::LogFull => {
                let full = "create or replace function public.disk_full() returns trigger language plpgsql as $$ begin
                              raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
                            do $$ begin for slot in 0..2 loop
                              execute format('create trigger full_disk before insert on rowcast.change_%s '
                                             'for each row execute function public.disk_full()', slot);
                            end loop; end $$";
                // On the slots: capture lets a change go for a trigger on the log itself.
                world.in_database(full).await?;
                let pause = millis(world, 1_000..3_000);
                tokio::time::sleep(pause).await;
                world.in_database("drop function public.disk_full() cascade").await
            }
            Self::LogGone => {
                world.in_database("alter table rowcast.change rename to elsewhere").await?;
                let pause = millis(world, 500..2_500);
                tokio::time::sleep(pause).await;
                world.in_database("alter table rowcast.elsewhere rename to change").await
            }
            Self::Killed => world.signal_active("KILL").await,
            Self::Stopped => world.signal_active("TERM").await,
            Self::BothKilled => {
                for service in &world.services {
                    service.signal("KILL").await;
                }
                Ok(())
            }
            Self::Frozen => {
                let active = world.active().await?;
                world.services[active].signal("STOP").await;
                let pause = millis(world, 2_000..6_000);
                tokio::time::sleep(pause).await;
                world.services[active].signal("CONT").await;
                Ok(())
            }
            Self::Failpoint { point, abort } => failpoint(world, point, abort).await,
        }
    }
}

async fn execute(client: &tokio_postgres::Client, sql: &str) -> Result<(), String> {
    client.batch_execute(sql).await.map_err(|error| format!("{sql}: {error:?}"))
}

async fn pids(admin: &tokio_postgres::Client) -> Result<Vec<i32>, String> {
    let sql = "select pid from pg_stat_activity where usename = $1 order by random()";
    let rows = admin.query(sql, &[&GATEWAY]).await.map_err(|error| format!("{error:?}"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn terminate_each(world: &mut World) -> Result<(), String> {
    let admin = world.cluster.admin().await?;
    for pid in pids(&admin).await? {
        admin.execute("select pg_terminate_backend($1)", &[&pid]).await.map_err(|error| format!("{error:?}"))?;
        tokio::time::sleep(Duration::from_millis(world.rng.u64(0..200))).await;
    }
    Ok(())
}

/// Then Postgres takes itself for corrupted, and starts anew as after a crash.
async fn kill_backend(world: &mut World) -> Result<(), String> {
    let admin = world.cluster.admin().await?;
    let pid = *pids(&admin).await?.first().ok_or("the service has no connection")?;
    drop(admin);
    let killed = tokio::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().await;
    killed.is_ok_and(|status| status.success()).then_some(()).ok_or_else(|| format!("kill -9 {pid} failed"))
}

async fn too_many_connections(world: &mut World) -> Result<(), String> {
    let url = url_for(&world.cluster.url().borrow(), APPLICATION, DATABASE);
    let mut filling = Vec::new();
    let admin = world.cluster.admin().await?;
    let until = tokio::time::Instant::now() + Duration::from_millis(world.rng.u64(2_000..4_000));
    while tokio::time::Instant::now() < until {
        match connect(&url).await {
            Ok(client) => filling.push(client),
            Err(_) => {
                // It is full: whoever loses a connection now gets no other.
                for pid in pids(&admin).await? {
                    admin.execute("select pg_terminate_backend($1)", &[&pid]).await.ok();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    Ok(())
}

/// Has the instance that stands by take over with the failpoint armed, and sees that it is hit.
async fn failpoint(world: &mut World, point: Failpoint, abort: bool) -> Result<(), String> {
    let active = world.active().await?;
    let (armed, other) = (1 - active, active);
    let count = if point == Failpoint::Claimed { 1 } else { world.rng.u32(1..4) };
    let count = if matches!(point, Failpoint::Paged | Failpoint::Rotating | Failpoint::Rotated) { 1 } else { count };
    let charge = format!("{}={}@{count}", point.as_str(), if abort { "abort" } else { "error" });
    let (hits, ends) = (world.services[armed].hits(), world.services[armed].ends());
    world.services[armed].arm(&charge);
    world.services[armed].signal("KILL").await;
    world
        .until("the armed instance stands by", HIT_WITHIN, async |world| {
            let service = &world.services[armed];
            service.ends() > ends
                && matches!(service.readiness().await, Some((503, reason)) if reason.contains("standing by"))
        })
        .await?;
    world.services[other].may_run(false);
    world.services[other].signal("KILL").await;
    // By row it is more than a page; by statement a few rows of the log, each of many changes.
    let by_statement = point != Failpoint::Paged;
    world
        .in_database(&format!(
            "select rowcast.watch('bulk', by_statement => {by_statement}); update bulk set version = version + 1"
        ))
        .await?;
    let hit = world
        .until(&format!("the failpoint {charge} is hit"), HIT_WITHIN, async |world| world.services[armed].hits() > hits)
        .await;
    world.services[other].may_run(true);
    hit
}
