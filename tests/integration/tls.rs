//! TLS to Postgres: who is let be the server, by both clients, and what is said of whoever isn't.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rowcast::{
    capture::{CaptureError, Connection},
    config::{DatabaseUrl, LookupConfig},
    error::Error,
    pool,
};

use super::cli::Files;
use crate::support::{
    command::{Ran, rowcast, rowcast_command, run},
    database::{Database, connect, server_url},
    roles::url_of,
    server::Server,
    service::{Process, Service},
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// A certificate and its key, signed by the authority.
fn certificate(by: &Authority, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![purpose];
    (params.signed_by(&key, by).expect("signed").pem(), key.serialize_pem())
}

/// A server that speaks TLS as `localhost`, and the authority behind it; `None` (with the reason printed) where Postgres was
/// built without.
async fn server() -> Option<(Server, Authority)> {
    let server = Server::start(&["password_encryption=scram-sha-256"]).await;
    let ours = authority("ours");
    let (pem, key) = certificate(&ours, "localhost", ExtendedKeyUsagePurpose::ServerAuth);
    server.speak_tls(&pem, &key, None).await.then_some((server, ours))
}

/// The same URL with a host of another name, and parameters.
fn with(url: &str, host: &str, parameters: &[(&str, &str)]) -> String {
    let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}?{}", url.replace("127.0.0.1", host), parameters.join("&"))
}

/// Whether each of the two clients gets through, and over TLS, or the reason.
async fn try_both(url: &str) -> [Result<bool, String>; 2] {
    const SSL: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let url = match DatabaseUrl::parse(url) {
        Ok(url) => url,
        Err(error) => return [(); 2].map(|()| Err(error.to_string())),
    };
    let captured = match Connection::open(&url.for_capture().unwrap(), "test").await {
        Ok(connection) => Ok(connection.query_one(SSL, &[]).await.unwrap().get::<_, bool>(0)),
        Err(error @ CaptureError::Connect(_)) => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    };
    let pooled = match pool::open(&LookupConfig { connections: 1, ..LookupConfig::default() }, &url, "test").await {
        Ok(pool) => Ok(sqlx::query_scalar::<_, bool>(SSL).fetch_one(&pool).await.unwrap()),
        Err(Error::Unreachable(reason)) => Err(reason),
        Err(error) => panic!("{error:?}"),
    };
    [captured, pooled]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_lets_in_the_servers_that_it_should_and_no_others() {
    let Some((server, ours)) = server().await else { return };
    let files = Files::new(&[("ours.pem", &ours.pem()), ("theirs.pem", &authority("theirs").pem())]);
    let (ours, theirs) = (format!("{}/ours.pem", files.path()), format!("{}/theirs.pem", files.path()));
    let plain = server_url();
    const UNTRUSTED: &str =
        "the server's certificate is not trusted: none of the CAs that sslrootcert names has signed it";
    const MISNAMED: &str = "expects a certificate for 127.0.0.1, and the server's is for";
    const WITHOUT: &str = "expected a server with TLS, as sslmode asks for one; found one without";
    let right = ("localhost", Some(&ours));
    let unnamed = ("127.0.0.1", Some(&ours));
    let untrusted = ("localhost", Some(&theirs));
    let unchecked = ("localhost", None);
    let encrypted = Ok(true);
    for (mode, (host, roots), expected) in [
        ("disable", right, Ok(false)),
        ("allow", untrusted, encrypted),
        ("prefer", right, encrypted),
        ("prefer", unnamed, encrypted),
        ("prefer", untrusted, encrypted),
        ("prefer", unchecked, encrypted),
        ("require", unchecked, encrypted),
        ("require", right, encrypted),
        ("require", unnamed, encrypted),
        ("require", untrusted, Err(UNTRUSTED)),
        ("verify-ca", right, encrypted),
        ("verify-ca", unnamed, encrypted),
        ("verify-ca", untrusted, Err(UNTRUSTED)),
        ("verify-full", right, encrypted),
        ("verify-full", unnamed, Err(MISNAMED)),
        ("verify-full", untrusted, Err(UNTRUSTED)),
    ] {
        let mut parameters = vec![("sslmode", mode)];
        parameters.extend(roots.map(|roots| ("sslrootcert", roots.as_str())));
        compare(&with(&server.url, host, &parameters), expected).await;
        // The same asked of a server that has no TLS.
        let expected = match mode {
            "disable" | "allow" | "prefer" => Ok(false),
            _ => Err(WITHOUT),
        };
        compare(&with(&plain, host, &parameters), expected).await;
    }
    // Nothing said is as good as `prefer`.
    compare(&server.url, encrypted).await;
    compare(&plain, Ok(false)).await;
}

async fn compare(url: &str, expected: Result<bool, &str>) {
    for (client, found) in ["capture", "pool"].into_iter().zip(try_both(url).await) {
        match (&found, expected) {
            (Ok(ssl), Ok(expected)) => assert_eq!(*ssl, expected, "{client}: {url}"),
            (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{client}: {url}: {reason}"),
            _ => panic!("{client}: {url}: expected {expected:?}, found {found:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_service_runs_over_verified_tls() {
    let Some((server, ours)) = server().await else { return };
    let files = Files::new(&[("ours.pem", &ours.pem())]);
    let root = format!("{}/ours.pem", files.path());
    let mut database = Database::marketplace_on(&server.url).await;
    database.run("create role rowcast_tls login superuser password 'p%ss word'").await;
    server.require_password("rowcast_tls").await;
    let plain = database.url.clone();
    let as_role = url_of(&plain, "rowcast_tls:p%25ss%20word");
    let parameters = [("sslmode", "verify-full"), ("sslrootcert", root.as_str()), ("channel_binding", "require")];
    database.url = with(&as_role, "localhost", &parameters);
    // The template's URL is for the tests' own clients; only the service goes over TLS.
    let service = Service::start(&database).await;
    let mut viewer = service.visit().await;
    viewer.emit_with_ack("join:product", serde_json::json!({ "productId": "product-1" })).await;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    viewer.event_named("product:stock_changed").await;
    let connections = connect(&plain)
        .await
        .query(
            "select a.application_name, s.ssl from pg_stat_activity a join pg_stat_ssl s using (pid)
             where a.application_name like 'rowcast %' and a.datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    let named: Vec<String> = connections.iter().map(|row| row.get(0)).collect();
    for purpose in ["doorbell", "sweep", "lookups", "aside", "schedules"] {
        assert!(named.contains(&format!("rowcast {purpose}")), "{purpose}: {named:?}");
    }
    for connection in &connections {
        assert!(connection.get::<_, bool>(1), "{}", connection.get::<_, String>(0));
    }
    let ran = rowcast(&database.url, &["check"]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    service.stop().await;
    database.url = plain;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_url_leaves_open_the_environment_says() {
    let Some((server, ours)) = server().await else { return };
    let database = Database::marketplace_on(&server.url).await;
    let files = Files::new(&[("ours.pem", &ours.pem()), ("theirs.pem", &authority("theirs").pem())]);
    let path = |name: &str| format!("{}/{name}.pem", files.path());
    let by_name = database.url.replace("127.0.0.1", "localhost");
    let migrate = async |url: &str, environment: &[(&str, &str)]| -> Ran {
        run(rowcast_command(url).envs(environment.iter().copied()).args(["migrate"]), "").await
    };
    let (ours, theirs) = (path("ours"), path("theirs"));
    migrate(&by_name, &[("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &ours)]).await.succeeded();
    let refused = migrate(&by_name, &[("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &theirs)]).await;
    assert!(refused.code == 5 && refused.stderr.contains("is not trusted"), "{refused:?}");
    // The URL counts more.
    migrate(&format!("{by_name}?sslmode=prefer"), &[("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &theirs)])
        .await
        .succeeded();
    // The CAs of the machine, and with them the name.
    let system = format!("{by_name}?sslrootcert=system");
    migrate(&system, &[("SSL_CERT_FILE", &ours)]).await.succeeded();
    let refused = migrate(&system, &[("SSL_CERT_FILE", &theirs)]).await;
    assert!(refused.code == 5 && refused.stderr.contains("is not trusted"), "{refused:?}");
    let unnamed = format!("{}?sslrootcert=system", database.url);
    let refused = migrate(&unnamed, &[("SSL_CERT_FILE", &ours)]).await;
    assert!(refused.code == 5 && refused.stderr.contains("expects a certificate for 127.0.0.1"), "{refused:?}");
    for (parameters, expected) in [
        ("sslmode=verify-full", "name their file by sslrootcert=FILE"),
        ("sslmode=verify-full&sslrootcert=/no/such.pem", "/no/such.pem can't be read"),
        ("sslmode=require&sslrootcert=system", "goes with sslmode=verify-full alone"),
        ("sslmode=secure", "sslmode is none of"),
        ("sslcert=/etc/hostname", "sslcert is given without sslkey"),
        (&format!("sslmode=verify-ca&sslrootcert={}", "/etc/hostname"), "no certificate as PEM"),
    ] {
        let ran = migrate(&format!("{by_name}?{parameters}"), &[("HOME", "/nonexistent")]).await;
        assert!(ran.code == 3 && ran.stderr.contains(expected), "{parameters}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_certificate_signs_in_and_without_one_it_is_said_what_is_asked_for() {
    let server = Server::start(&[]).await;
    let ours = authority("ours");
    let (pem, key) = certificate(&ours, "localhost", ExtendedKeyUsagePurpose::ServerAuth);
    if !server.speak_tls(&pem, &key, Some((&ours.pem(), "rowcast_certified"))).await {
        return;
    }
    connect(&server.url).await.batch_execute("create role rowcast_certified login").await.unwrap();
    let (own, own_key) = certificate(&ours, "rowcast_certified", ExtendedKeyUsagePurpose::ClientAuth);
    let files = Files::new(&[("ours.pem", &ours.pem()), ("own.pem", &own), ("own.key", &own_key)]);
    let path = |name: &str| format!("{}/{name}", files.path());
    let url = url_of(&server.url, "rowcast_certified");
    let (root, own, own_key) = (path("ours.pem"), path("own.pem"), path("own.key"));
    let verified = [("sslmode", "verify-full"), ("sslrootcert", root.as_str())];
    let certified = [verified.as_slice(), &[("sslcert", own.as_str()), ("sslkey", own_key.as_str())]].concat();
    compare(&with(&url, "localhost", &certified), Ok(true)).await;
    compare(&with(&url, "localhost", &verified), Err("certificate")).await;
    compare(&with(&url, "localhost", &[("sslmode", "disable")]), Err("pg_hba.conf rejects")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_s_own_certificate_is_no_server_s_and_that_is_said() {
    let server = Server::start(&[]).await;
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).expect("signed").pem();
    if !server.speak_tls(&pem, &key.serialize_pem(), None).await {
        return;
    }
    let files = Files::new(&[("own.pem", &pem)]);
    let root = format!("{}/own.pem", files.path());
    let url = with(&server.url, "localhost", &[("sslmode", "verify-ca"), ("sslrootcert", &root)]);
    compare(&url, Err("shows a CA's own certificate")).await;
}

/// sqlx would trust them besides those of sslrootcert.
#[test]
fn no_public_authority_is_trusted_unasked() {
    assert!(webpki_roots::TLS_SERVER_ROOTS.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_in_nothing_that_is_printed_and_a_file_of_passwords_serves_both_clients() {
    let server = Server::start(&["password_encryption=scram-sha-256"]).await;
    let database = Database::marketplace_on(&server.url).await;
    database.run("create role rowcast_secretive login superuser password 'right'").await;
    server.require_password("rowcast_secretive").await;
    let url = url_of(&database.url, "rowcast_secretive");
    let serve = async |url: &str, environment: &[(&str, &str)]| {
        let mut command = rowcast_command(url);
        command.envs(environment.iter().copied()).env("RUST_LOG", "trace");
        run(command.args(["serve", "--auth", "insecure", "--listen", "127.0.0.1:0"]), "").await
    };
    let files = Files::new(&[
        ("pgpass", "*:*:*:rowcast_secretive:right\n"),
        ("wrong", "hunter2\n*:*:*:rowcast_secretive:hunter2\n"),
    ]);
    let path = |name: &str| format!("{}/{name}", files.path());
    for name in ["pgpass", "wrong"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    for (url, environment) in [
        (url_of(&database.url, "rowcast_secretive:hunter2"), vec![]),
        (format!("{url}?password=hunter2"), vec![]),
        (url_of(&database.url, "rowcast_secretive:hunter2").replace("127.0.0.1", "no-such-host.invalid"), vec![]),
        (format!("{}?sslmode=verify-full&sslrootcert=/no", url_of(&database.url, "x:hunter2")), vec![]),
        (format!("postgres://x:hunter2@{}", "h:99999/d"), vec![]),
        (url.clone(), vec![("PGPASSWORD", "hunter2".to_owned())]),
        (url.clone(), vec![("PGPASSFILE", path("wrong"))]),
    ] {
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ran = serve(&url, &environment).await;
        assert!([3, 5].contains(&ran.code), "{ran:?}");
        assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"), "{}", ran.stderr);
    }
    // Postgres' own file of passwords, for both clients.
    let process = Process::start_in(&url, &[], &[("PGPASSFILE", &path("pgpass"))]).await.ready().await;
    assert!(process.terminate().await);
}
