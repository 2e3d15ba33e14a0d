//! What is said when TLS fails: what was expected, what was found, and what to do.

use std::error::Error as StdError;

use rustls::{CertificateError, Error as TlsError};

/// What both clients say of a server that has no TLS.
const NO_TLS: &str = "server does not support TLS";

/// The reason in words, if TLS is the reason.
pub fn complaint(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = as_tls(error) {
            return Some(explain(tls));
        }
        if error.to_string() == NO_TLS {
            return Some(
                "expected a server with TLS, as sslmode asks for one; found one without. Let its administrator set ssl = on; or, where nobody else is on the way, write sslmode=disable".to_owned(),
            );
        }
        next = error.source();
    }
    None
}

/// An error of input and output doesn't give what it holds as its source.
fn as_tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e TlsError> {
    if let Some(tls) = error.downcast_ref::<TlsError>() {
        return Some(tls);
    }
    as_tls(error.downcast_ref::<std::io::Error>()?.get_ref()?)
}

fn explain(error: &TlsError) -> String {
    let reason = match error {
        TlsError::InvalidCertificate(reason) => reason,
        TlsError::AlertReceived(alert) => {
            return format!(
                "the server ended the TLS handshake ({alert:?}). Does it ask for a client's certificate? Then name yours by sslcert and sslkey"
            );
        }
        other => return format!("the TLS handshake failed: {other}"),
    };
    match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "the server's certificate is not trusted: none of the CAs that sslrootcert names has signed it. Either sslrootcert names the wrong file, or somebody else answers in the server's place".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "sslmode=verify-full expects a certificate for {}, and the server's is for {}. Name the host in DATABASE_URL as the certificate does, have one made for this name, or write sslmode=verify-ca, which asks for no name",
            expected.to_str(),
            if presented.is_empty() { "no name at all (it needs a subjectAltName)".to_owned() } else { presented.join(", ") },
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the server's certificate has expired (or this machine's clock is wrong); let its administrator renew it".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "the server's certificate is not valid yet; is this machine's clock right?".to_owned(),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => "the server shows a CA's own certificate, which is refused. Let its administrator sign a certificate for the server with that CA, without CA:TRUE".to_owned(),
        other => format!("the server's certificate is not accepted: {other}"),
    }
}
