//! The service: one process that captures, applies the rules, and serves sockets.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Modes,
    beside,
    capture::Capture,
    catalog::{Catalog, Engine},
    config::{AdminListen, Config, DatabaseUrl, LookupConfig},
    error::Error,
    footing,
    gateway::{Gateway, Neighbours},
    http::{self, Admin, Http},
    inbox::Inbox,
    journal::Journal,
    metrics::Metrics,
    migrate,
    pipeline::Pipeline,
    pool,
    readiness::Readiness,
    replay::Replays,
};

/// Loads the catalog that the configuration names.
pub fn load_catalog(config: &Config) -> Result<Catalog, Error> {
    match &config.catalog.dir {
        Some(dir) => Catalog::from_dir(dir, &config.catalog.settings),
        None => Catalog::built_in(&config.catalog.settings),
    }
    .map_err(Error::Catalog)
}

/// Binds the address, which must be a loopback one where everybody is believed.
pub async fn bind(address: SocketAddr, modes: &Modes) -> Result<TcpListener, Error> {
    if modes.is_insecure() && !address.ip().is_loopback() {
        return Err(Error::Configuration(format!(
            "--auth insecure believes whatever user id a client sends, so it listens on loopback addresses only; found {address}, expected an address such as 127.0.0.1:{}",
            address.port()
        )));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there; stop it, or choose another with --listen or ROWCAST_LISTEN"
            }
            std::io::ErrorKind::PermissionDenied => "this user may not bind that port; choose one above 1023",
            _ => "choose another with --listen or ROWCAST_LISTEN",
        };
        Error::Address(format!("cannot listen on {address}: {error}; {advice}"))
    })
}

/// Binds the address for those who run the service, if there is to be one.
pub async fn bind_admin(listen: AdminListen) -> Result<Option<TcpListener>, Error> {
    let AdminListen::At(address) = listen else { return Ok(None) };
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "the admin address is not a loopback one: whoever reaches it reads the metrics and why the service is not ready, so let nobody reach it from outside"
        );
    }
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there, perhaps another rowcast: each on one machine needs an admin address of its own. Choose another with --admin-listen or ROWCAST_ADMIN_LISTEN, such as 127.0.0.1:0 for any free port, or off for none"
            }
            std::io::ErrorKind::PermissionDenied => "this user may not bind that port; choose one above 1023",
            _ => "choose another with --admin-listen or ROWCAST_ADMIN_LISTEN, or off for none",
        };
        Error::Address(format!("cannot listen on {address}, the admin address, for metrics: {error}; {advice}"))
    })?;
    Ok(Some(listener))
}

/// Runs until `shutdown` resolves, then drains: accept nothing more, stop capturing, close the sockets, end.
///
/// Four tasks, all awaited here: capture, the HTTP server, the one for who runs the service, and what goes on beside them.
/// If one ends before it was told to, so does the service.
pub async fn run(
    config: Config,
    modes: Modes,
    url: DatabaseUrl,
    catalog: Catalog,
    listener: TcpListener,
    admin: Option<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    // The live events' lookups wait for nobody: replays, inboxes and the demo page have connections of their own, so has
    // sign-in, which must end what is to end, and so have the schedules.
    let pool = pool::open(&config.lookups, &url, "lookups").await?;
    let aside = pool::open(&config.lookups, &url, "aside").await?;
    let people = pool::open(&config.lookups, &url, "sign-in").await?;
    let few = LookupConfig { connections: 3, ..config.lookups.clone() };
    let scheduled = pool::open(&few, &url, "schedules").await?;
    migrate::require_current(&pool).await?;
    footing::warn(&url, &pool).await;

    let metrics = Arc::new(Metrics::new());
    let journal = Arc::new(Journal::new(config.journal.clone()));
    let catalog = Arc::new(catalog);
    // The demo page shows rows of the database to whoever can reach it.
    let demo = modes.is_insecure().then(|| aside.clone());
    let concerns = modes.concerns();
    let sign_in = modes.open(&people, &url.for_capture()?).await?;
    let replays = Arc::new(Replays::new(url.for_capture()?, catalog.clone(), aside.clone()));
    let inbox = Arc::new(Inbox::new(aside.clone()));
    let among = Neighbours {
        policy: catalog.clone(),
        sign_in,
        replay: replays,
        inbox,
        metrics: metrics.clone(),
        journal: journal.clone(),
    };
    let (gateway, socket_io) = Gateway::new(config.gateway.clone(), config.limits.clone(), among);
    // Until it captures: what another instance tells meanwhile, this one's clients would not hear.
    gateway.stand_by(true);
    let (readiness, readiness_seen) = watch::channel(Readiness::not_ready("starting"));
    let router = http::router(Http {
        gateway: gateway.clone(),
        socket_io,
        allowed_origins: config.gateway.allowed_origins.clone(),
        readiness: readiness_seen.clone(),
        demo,
    });

    let address = listener.local_addr().map_err(|error| Error::Address(error.to_string()))?;
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let mut server = {
        let gateway = gateway.clone();
        tokio::spawn(async move { http::serve(listener, &gateway, router, stopped).await })
    };
    let admin_address = admin.as_ref().and_then(|admin| admin.local_addr().ok());
    let mut admin = {
        let (what, stopped) = (
            Admin { metrics: metrics.clone(), readiness: readiness_seen, journal: journal.clone() },
            stop.clone().cancelled_owned(),
        );
        tokio::spawn(async move {
            let Some(listener) = admin else {
                stopped.await;
                return Ok(());
            };
            http::serve_admin(listener, what, stopped).await
        })
    };
    let beside = beside::run(&config, &catalog, &scheduled, &gateway, &metrics, &stop);
    let mut beside = tokio::spawn(beside);
    let pipeline = Pipeline::new(
        Engine::new(catalog, pool.clone()),
        gateway.clone(),
        metrics.clone(),
        journal.clone(),
        concerns,
        pool.clone(),
    );
    let capture =
        Capture { database: url.for_capture()?, options: config.capture.options(), sink: pipeline, readiness, metrics };
    let mut capture = tokio::spawn(capture.run(stop.clone()));
    if let Some(address) = admin_address {
        tracing::info!("admin on http://{address}");
    }
    tracing::info!("listening on http://{address}");

    let ended_early = tokio::select! {
        () = shutdown => None,
        ended = &mut server => Some(format!("the HTTP server ended: {ended:?}")),
        ended = &mut admin => Some(format!("the admin server ended: {ended:?}")),
        ended = &mut capture => Some(format!("capture ended: {ended:?}")),
        ended = &mut beside => Some(format!("the schedules ended: {ended:?}")),
    };
    if let Some(reason) = &ended_early {
        tracing::error!(reason, "stopping, since a part of the service ended by itself");
    } else {
        tracing::info!("stopping");
    }
    stop.cancel();
    let drain = async {
        if !capture.is_finished() {
            capture.await.ok();
        }
        gateway.drain(config.drain_timeout).await;
        if !beside.is_finished() {
            beside.await.ok();
        }
        if !server.is_finished() {
            server.await.ok();
        }
        if !admin.is_finished() {
            admin.await.ok();
        }
        pool.close().await;
        aside.close().await;
        people.close().await;
        scheduled.close().await;
    };
    // The gateway gives up after its own time, so this is for what nobody thought of.
    if tokio::time::timeout(config.drain_timeout + Duration::from_secs(3), drain).await.is_err() {
        tracing::warn!("not everything had stopped in time; leaving it behind");
    }
    match ended_early {
        None => Ok(()),
        Some(reason) => Err(Error::Database(reason)),
    }
}
