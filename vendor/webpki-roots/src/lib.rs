//! Stands in for the crate of this name, and holds no certificate.
//!
//! sqlx adds that crate's public CAs to whatever `sslrootcert` names. Then `verify-ca` would let in any server on earth that
//! has a certificate. With libpq, `sslrootcert` names all the CAs that are trusted, and so it is here.
#![no_std]

use rustls_pki_types::TrustAnchor;

/// No CA.
pub const TLS_SERVER_ROOTS: &[TrustAnchor<'static>] = &[];
