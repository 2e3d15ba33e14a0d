//! TLS to Postgres, by rustls: what `sslmode`, `sslrootcert`, `sslcert` and `sslkey` ask for, with libpq's meaning, for both
//! of Postgres' clients.
//!
//! | file | role |
//! |---|---|
//! | `verify` | whether a server's certificate will do |
//! | `complaint` | what is said when it won't |

mod complaint;
mod verify;

use std::{fs, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::complaint::complaint;
use crate::error::Error;

/// `sslrootcert=system`: the CAs that this machine trusts.
const SYSTEM: &str = "system";

/// What the URL and the environment say of TLS, not yet looked into.
#[derive(Debug, Clone, Default)]
pub struct TlsParameters {
    mode: Option<String>,
    root_certificate: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl TlsParameters {
    /// `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            mode: variable("PGSSLMODE"),
            root_certificate: variable("PGSSLROOTCERT"),
            certificate: variable("PGSSLCERT"),
            key: variable("PGSSLKEY"),
        }
    }

    /// Takes a parameter of the URL, which counts more than the environment; false if it is none of TLS.
    ///
    /// # Errors
    ///
    /// If the value is no text.
    pub fn take(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root_certificate,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            _ => return Ok(false),
        };
        *place = Some(decoded(value).ok_or_else(|| wrong(format!("{name} holds a % that stands for no text")))?)
            .filter(|value| !value.is_empty());
        Ok(true)
    }
}

/// How much is asked of the server, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disable,
    Prefer,
    /// Encrypted, by whoever answers.
    Require,
    /// Its certificate is signed by one of the CAs.
    VerifyCa,
    /// And is made for the host that the URL names.
    VerifyFull,
}

/// Certificates, or a key, as PEM.
type Pem = Arc<[u8]>;

/// The settings for TLS, with the certificates read: both clients get the same.
#[derive(Clone)]
pub struct Tls {
    mode: Mode,
    /// The CAs that are trusted; empty below `verify-ca`.
    roots: Pem,
    /// The client's own certificate and key.
    own: Option<(Pem, Pem)>,
}

impl Tls {
    /// Nothing is encrypted.
    pub fn none() -> Self {
        Self { mode: Mode::Disable, roots: Arc::default(), own: None }
    }

    /// # Errors
    ///
    /// If a value means nothing, or a file can't be read or holds no certificate.
    pub fn new(parameters: TlsParameters) -> Result<Self, Error> {
        let TlsParameters { mode, root_certificate, certificate, key } = parameters;
        let asked = match mode.as_deref() {
            None | Some("prefer" | "allow") => Mode::Prefer,
            Some("disable") => Mode::Disable,
            Some("require") => Mode::Require,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-full") => Mode::VerifyFull,
            Some(_) => {
                return Err(wrong(
                    "sslmode is none of disable, allow, prefer, require, verify-ca, verify-full".to_owned(),
                ));
            }
        };
        let root_certificate = root_certificate.or_else(default_root_certificate);
        let mode = match (asked, root_certificate.as_deref()) {
            // With the CAs of the whole world, a certificate says nothing without a name.
            (_, Some(SYSTEM)) if mode.is_none() => Mode::VerifyFull,
            (Mode::Prefer | Mode::Require | Mode::VerifyCa, Some(SYSTEM)) => {
                return Err(wrong(format!(
                    "sslrootcert=system goes with sslmode=verify-full alone, and found sslmode={}",
                    mode.as_deref().unwrap_or("prefer")
                )));
            }
            (Mode::Require, Some(_)) => Mode::VerifyCa,
            (mode, _) => mode,
        };
        let roots = match root_certificate.as_deref() {
            _ if mode < Mode::VerifyCa => Arc::default(),
            Some(SYSTEM) => system_roots()?,
            Some(path) => roots_of("sslrootcert", path)?,
            None => {
                return Err(wrong(
                    "sslmode=verify-ca and verify-full need the CAs to trust: name their file by sslrootcert=FILE, or take this machine's by sslrootcert=system".to_owned(),
                ));
            }
        };
        let own = match (mode, certificate, key) {
            (Mode::Disable, ..) | (_, None, None) => None,
            (_, Some(certificate), Some(key)) => Some((read("sslcert", &certificate)?, read("sslkey", &key)?)),
            (_, Some(_), None) => {
                return Err(wrong(
                    "sslcert is given without sslkey. They are the client's own certificate and key; the server's CA (which Prisma calls sslcert) is named by sslrootcert".to_owned(),
                ));
            }
            (_, None, Some(_)) => return Err(wrong("sslkey is given without sslcert".to_owned())),
        };
        let tls = Self { mode, roots, own };
        tls.connector()?;
        Ok(tls)
    }

    /// For tokio-postgres, which knows no finer modes: its connector sees to the rest.
    pub fn mode_for_capture(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        }
    }

    /// For tokio-postgres.
    ///
    /// # Errors
    ///
    /// If a certificate or the key can't be used.
    pub fn connector(&self) -> Result<MakeRustlsConnect, Error> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(format!("TLS can't be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verify::verifier(self.mode, self.root_store()?, provider)?);
        let config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("sslcert", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| wrong(format!("the file of sslkey holds no private key as PEM: {error}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong(format!("the certificate of sslcert and the key of sslkey: {error}")))?
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }

    /// For sqlx.
    pub fn apply(&self, options: PgConnectOptions) -> PgConnectOptions {
        let mut options = options.ssl_mode(match self.mode {
            Mode::Disable => PgSslMode::Disable,
            Mode::Prefer => PgSslMode::Prefer,
            Mode::Require => PgSslMode::Require,
            Mode::VerifyCa => PgSslMode::VerifyCa,
            Mode::VerifyFull => PgSslMode::VerifyFull,
        });
        if self.mode >= Mode::VerifyCa {
            options = options.ssl_root_cert_from_pem(self.roots.to_vec());
        }
        if let Some((certificate, key)) = &self.own {
            options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key);
        }
        options
    }

    /// What somebody between here and the server could do.
    pub fn weakness(&self) -> Option<&'static str> {
        match self.mode {
            Mode::Disable => Some(
                "is not encrypted (sslmode=disable): whoever is on the way can read it; write sslmode=verify-full and sslrootcert into DATABASE_URL",
            ),
            Mode::Prefer => Some(
                "is encrypted only if the server wishes so, and by whoever answers (sslmode=prefer); write sslmode=verify-full and sslrootcert into DATABASE_URL",
            ),
            Mode::Require => Some(
                "is encrypted, but by whoever answers (sslmode=require without sslrootcert); write sslmode=verify-full and sslrootcert into DATABASE_URL",
            ),
            Mode::VerifyCa | Mode::VerifyFull => None,
        }
    }

    fn root_store(&self) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.roots).flatten() {
            store
                .add(certificate)
                .map_err(|error| wrong(format!("a certificate of sslrootcert is no CA's: {error}")))?;
        }
        Ok(store)
    }
}

/// The one crypto provider of this program.
pub fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may have come first, with the same.
        aws_lc_rs::default_provider().install_default().ok();
    }
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

/// `~/.postgresql/root.crt`, where it is.
fn default_root_certificate() -> Option<String> {
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".postgresql/root.crt");
    path.is_file().then(|| path.to_string_lossy().into_owned())
}

fn system_roots() -> Result<Pem, Error> {
    let mut store = RootCertStore::empty();
    let usable =
        rustls_native_certs::load_native_certs().certs.into_iter().filter(|one| store.add(one.clone()).is_ok());
    let pem: String = usable.map(|certificate| as_pem(&certificate)).collect();
    match pem.is_empty() {
        false => Ok(pem.into_bytes().into()),
        true => Err(wrong(
            "sslrootcert=system, but this machine has no CA certificates (Debian: apt-get install ca-certificates)"
                .to_owned(),
        )),
    }
}

fn as_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn roots_of(parameter: &str, path: &str) -> Result<Pem, Error> {
    let pem = read(parameter, path)?;
    certificates(parameter, &pem)?;
    Ok(pem)
}

fn certificates(parameter: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => {
            Err(wrong(format!("the file of {parameter} holds no certificate as PEM (-----BEGIN CERTIFICATE-----)")))
        }
        Err(error) => Err(wrong(format!("the file of {parameter} holds no certificates as PEM: {error}"))),
    }
}

fn read(parameter: &str, path: &str) -> Result<Pem, Error> {
    fs::read(path).map(Arc::from).map_err(|error| wrong(format!("{parameter}: the file {path} can't be read: {error}")))
}

fn wrong(reason: String) -> Error {
    Error::Configuration(format!("DATABASE_URL, or a variable PGSSL…: {reason}"))
}

/// Text of a URL, with `%2F` for `/`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || (rest.next()? as char).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok()
}
