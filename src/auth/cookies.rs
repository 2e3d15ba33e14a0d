//! Cookies, and the signature that express-session puts on them.

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use percent_encoding::percent_decode_str;

/// The value of the first cookie of that name, decoded: the one that Express takes too.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let headers = headers.get_all(header::COOKIE).into_iter().filter_map(|value| str::from_utf8(value.as_bytes()).ok());
    let mut pairs = headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(found, _)| found.trim() == name)?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let decoded = percent_decode_str(value).decode_utf8();
    Some(decoded.map_or_else(|_| value.to_owned(), |decoded| decoded.into_owned()))
}

/// The id of the session that a cookie names, if one of the secrets signed it: `s:<id>.<HMAC-SHA256 in base64>`.
///
/// The comparison takes the same time wherever the signatures differ.
pub(super) fn unsign<'a>(value: &'a str, secrets: &[hmac::Key]) -> Option<&'a str> {
    let (id, signature) = value.strip_prefix("s:")?.rsplit_once('.')?;
    let signature = STANDARD_NO_PAD.decode(signature).ok()?;
    let is_signed = secrets.iter().any(|secret| hmac::verify(secret, id.as_bytes(), &signature).is_ok());
    is_signed.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())
    }

    /// Made by cookie-signature 1.0.7: `sign('hello', 'tobiiscool')`, from its own tests.
    const HELLO: &str = "hello.DGDUkGlIkCzPz+C0B064FNgHdEjox7ch8tOBGslZ5QI";

    #[test]
    fn a_cookie_is_found_among_others_and_decoded() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; connect.sidx=no; connect.sid=s%3Ax.y%2Bz=; b=2".parse().unwrap());
        headers.append(header::COOKIE, "connect.sid=second; quoted=\"q\"; bad=%ff; empty=".parse().unwrap());
        assert_eq!(cookie(&headers, "connect.sid").as_deref(), Some("s:x.y+z="));
        assert_eq!(cookie(&headers, "quoted").as_deref(), Some("q"));
        assert_eq!(cookie(&headers, "bad").as_deref(), Some("%ff"));
        assert_eq!(cookie(&headers, "empty").as_deref(), Some(""));
        assert_eq!(cookie(&headers, "connect"), None);
        assert_eq!(cookie(&HeaderMap::new(), "a"), None);
    }

    #[test]
    fn a_signature_of_one_of_the_secrets_gives_the_id() {
        let signed = format!("s:{HELLO}");
        assert_eq!(unsign(&signed, &[secret("tobiiscool")]), Some("hello"));
        assert_eq!(unsign(&signed, &[secret("luna"), secret("tobiiscool")]), Some("hello"));
        assert_eq!(unsign(&signed, &[secret("luna")]), None);
        assert_eq!(unsign(&signed, &[]), None);
    }

    #[test]
    fn whatever_else_a_cookie_holds_signs_nobody_in() {
        let secrets = [secret("tobiiscool")];
        let padded = format!("s:{HELLO}=");
        for value in ["", "s:", "s:.", "s:hello", "s:hello.", HELLO, "j:{}", "s:hello.ä", &padded, "s:x.DGDU"] {
            assert_eq!(unsign(value, &secrets), None, "{value}");
        }
        let signed = format!("s:{HELLO}");
        for place in 0..signed.len() {
            for bit in 0..7 {
                let mut bytes = signed.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let mutated = String::from_utf8(bytes).expect("ASCII");
                assert_eq!(unsign(&mutated, &secrets), None, "{mutated}");
            }
        }
    }
}
