//! What runs out: the disk below the log, and connections to Postgres. The service goes on by itself once there is some again,
//! and nothing that was committed is lost. An address of Postgres that changes is in the chaos run.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tokio_postgres::{NoTls, error::SqlState};

use crate::support::{
    client::Client,
    database::Database,
    eventually,
    server::Server,
    service::{Service, get},
};

/// A file system of a few megabytes, unmounted when dropped.
struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// `None`, after saying so, where this process may mount none.
    fn mount(mebibytes: u32) -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("rowcast-test-disk-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let size = format!("size={mebibytes}m,mode=777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&directory).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { directory });
        }
        std::fs::remove_dir(&directory).ok();
        eprintln!("skipped: this process may not mount a file system");
        None
    }

    fn path(&self) -> &Path {
        &self.directory
    }

    /// Leaves no byte of it free, until the ballast is dropped.
    fn fill(&self) -> Ballast {
        let ballast = Ballast { file: self.directory.join("ballast") };
        let mut file = File::create(&ballast.file).expect("a file");
        while file.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
        ballast
    }
}

struct Ballast {
    file: PathBuf,
}

impl Drop for Ballast {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Postgres may hold its files for a moment still.
        Command::new("umount").arg("--lazy").arg(&self.directory).status().ok();
        std::fs::remove_dir(&self.directory).ok();
    }
}

async fn is_told(client: &mut Client, stock: i32) {
    let is_it = |name: &str, event: &serde_json::Value| {
        name == "product:stock_changed" && event["data"]["newStock"] == stock && event["productId"] == "product-1"
    };
    let events = client.events_until(is_it).await;
    assert!(events.iter().all(|(name, _)| !name.starts_with("rowcast:")), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_is_full_below_the_log_fails_the_writer_and_what_was_committed_is_heard() {
    // Before the server, so that it is unmounted after that has gone.
    let Some(disk) = SmallDisk::mount(16) else { return };
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let owner: String = database.row("show data_directory", &[]).await.get(0);
    Command::new("chown").arg(format!("--reference={owner}")).arg(disk.path()).status().expect("chown runs");
    database.run(&format!("create tablespace small location '{}'", disk.path().display())).await;
    for slot in 0..3 {
        database
            .run(&format!(
                "alter table rowcast.change_{slot} set tablespace small;
                 alter index rowcast.change_{slot}_xid_idx set tablespace small;
                 alter index rowcast.change_{slot}_id_idx set tablespace small"
            ))
            .await;
    }
    let service = Service::start(&database).await;
    let mut client = service.connect("seller-1").await;
    client.emit_with_ack("ping", serde_json::Value::Null).await;

    let ballast = disk.fill();
    let mut told = Vec::new();
    let write = async |stock: i32| {
        database.client.batch_execute(&format!("update products set stock = {stock} where id = 'product-1'")).await
    };
    let mut stock = 1000;
    // In the pages that the log has there is some room.
    let error = loop {
        stock += 1;
        match write(stock).await {
            Ok(()) => told.push(stock),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some(&SqlState::DISK_FULL), "{error:?}");
    assert_eq!(get(service.address, "/readyz").await.unwrap().0, 200, "the service works as ever");

    drop(ballast);
    stock += 1;
    write(stock).await.expect("there is room again");
    told.push(stock);
    for stock in told {
        is_told(&mut client, stock).await;
    }
    assert_eq!(service.metric("rowcast_capture_losses_total").await, 0.0);
    service.stop().await;
    drop(database);
    drop(server);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_gets_no_connection_says_so_and_misses_nothing_once_it_does() {
    let server = Server::start(&["max_connections=40", "superuser_reserved_connections=5"]).await;
    let mut database = Database::marketplace_on(&server.url).await;
    database.run("create role crowd login; create role rowcast_few login superuser").await;
    // Superusers have places of their own, so the service is none.
    database.run("alter role rowcast_few nosuperuser; select rowcast.grant_gateway('rowcast_few')").await;
    database.run("grant select on all tables in schema public to rowcast_few").await;
    let own = database.url.clone();
    database.url = own.replace("postgres@", "rowcast_few@");
    let service = Service::start(&database).await;
    database.url = own.clone();
    let mut client = service.connect("seller-1").await;
    client.emit_with_ack("ping", serde_json::Value::Null).await;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    is_told(&mut client, 50).await;

    let crowd = own.replace("postgres@", "crowd@");
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'rowcast_few'";
    let mut filling = Vec::new();
    eventually("the service gets no connection, and says so", async || {
        while let Ok((client, connection)) = tokio_postgres::connect(&crowd, NoTls).await {
            tokio::spawn(connection);
            filling.push(client);
        }
        database.run(terminate).await;
        let (status, reason) = get(service.admin, "/readyz").await.unwrap();
        status == 503 && reason.contains("capture is down: cannot connect to Postgres")
    })
    .await;
    for stock in 51..=60 {
        database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
    }
    drop(filling);
    for stock in 51..=60 {
        is_told(&mut client, stock).await;
    }
    assert_eq!(service.metric("rowcast_capture_losses_total").await, 0.0);
    service.stop().await;
}
