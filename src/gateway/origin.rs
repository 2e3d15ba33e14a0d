//! The web pages whose scripts may connect.
//!
//! CORS does not protect WebSockets, and a page that its own name server points at this machine is of the same origin as the
//! server; so the server looks at the origin itself, and never believes a host name that it does not know.

use axum::http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};
use serde::Deserialize;

/// What a browser sends in the header `Origin`: scheme, host, and the port unless it is the scheme's own. In small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Of which origins a page may connect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub enum Origins {
    /// `["*"]`: every page. Only where no cookie signs anybody in.
    Any,
    Listed(Vec<Origin>),
}

impl Default for Origins {
    fn default() -> Self {
        Self::Listed(["http://localhost:3000", "http://localhost:5000"].map(|origin| Origin(origin.to_owned())).into())
    }
}

impl TryFrom<Vec<String>> for Origins {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        match texts.as_slice() {
            [any] if any == "*" => Ok(Self::Any),
            _ if texts.iter().any(|text| text == "*") => {
                Err("\"*\" means every origin, so it stands alone: [\"*\"]".to_owned())
            }
            _ => texts.into_iter().map(Origin::try_from).collect::<Result<_, _>>().map(Self::Listed),
        }
    }
}

impl Origins {
    /// Whether a page of this origin may connect; `origin` is the header as it came.
    pub fn contain(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(origins) => Origin::from_header(origin).is_some_and(|origin| origins.contains(&origin)),
        }
    }

    /// A program, which names no origin, a page of a listed one, or a page of this server, opened on this machine at `port`.
    pub fn welcome(&self, headers: &HeaderMap, port: Option<u16>) -> bool {
        let mut given = headers.get_all(header::ORIGIN).iter();
        match (given.next(), given.next()) {
            (None, _) => true,
            (Some(origin), None) => self.contain(origin) || port.is_some_and(|port| is_own_page(origin, headers, port)),
            (Some(_), Some(_)) => false,
        }
    }

    /// Cookies go along with every request, whichever page makes it: so where one of them signs somebody in, the pages
    /// must be known.
    ///
    /// # Errors
    ///
    /// If pages of any origin may connect, and `cookie`, a sentence such as "the mode session", signs in by a cookie.
    pub fn check_cookies(&self, cookie: Option<&str>) -> Result<(), String> {
        match (self, cookie) {
            (Self::Any, Some(cookie)) => Err(format!(
                "allowed_origins = [\"*\"] in [gateway] would let every page on the web act as whoever looks at it, since {cookie} signs in by a cookie; list the origins of your pages"
            )),
            _ => Ok(()),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || format!("{text:?} is not an origin: expected a scheme and a host, as in https://example.com");
        if text.ends_with('/') {
            return Err(expected());
        }
        Self::parse(&text).ok_or_else(expected)
    }
}

impl Origin {
    /// `None` also for `null`, which browsers send for pages of no origin: sandboxed frames, and files.
    fn from_header(header: &HeaderValue) -> Option<Self> {
        Self::parse(header.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.to_ascii_lowercase().parse().ok()?;
        let own_port = match uri.scheme_str()? {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        if uri.path_and_query().is_some_and(|path| path != "/") || text.ends_with('/') {
            return None;
        }
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = authority.port_u16().filter(|port| *port != own_port).map(|port| format!(":{port}"));
        Some(Self(format!("{scheme}://{}{}", authority.host(), port.unwrap_or_default())))
    }
}

fn is_own_page(origin: &HeaderValue, headers: &HeaderMap, port: u16) -> bool {
    let Some(host) = loopback_host(headers).filter(|host| host.port_u16().unwrap_or(80) == port) else { return false };
    let own = Origin::parse(&format!("http://{host}"));
    own.is_some() && own == Origin::from_header(origin)
}

/// The header `Host`, if that is a name that only this machine itself has. One that another name server gave cannot be: so
/// whoever sends it is no page from elsewhere.
pub fn loopback_host(headers: &HeaderMap) -> Option<Authority> {
    let host: Authority = headers.get(header::HOST)?.to_str().ok()?.to_ascii_lowercase().parse().ok()?;
    let is_loopback = matches!(host.host(), "localhost" | "127.0.0.1" | "[::1]") && !host.as_str().contains('@');
    is_loopback.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).expect("a header"));
        }
        headers
    }

    fn welcome(allowed: &[&str], host: &str, origin: &str) -> bool {
        let origins = Origins::try_from(allowed.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>());
        origins.expect("origins").welcome(&headers(&[(header::HOST, host), (header::ORIGIN, origin)]), Some(4000))
    }

    #[test]
    fn a_listed_page_is_welcome_however_its_origin_is_written() {
        let allowed = ["https://Example.com", "http://shop.example:8080", "https://port.example:443"];
        for origin in [
            "https://example.com",
            "HTTPS://EXAMPLE.COM",
            "https://example.com:443",
            "http://shop.example:8080",
            "https://port.example",
        ] {
            assert!(welcome(&allowed, "api.example", origin), "{origin}");
        }
        for origin in [
            "http://example.com",
            "https://example.com:8443",
            "https://www.example.com",
            "https://example.com.evil.example",
            "https://example.com@evil.example",
            "https://example.com/",
            "http://shop.example",
            "null",
            "",
            "example.com",
            "file://",
        ] {
            assert!(!welcome(&allowed, "api.example", origin), "{origin}");
        }
    }

    #[test]
    fn a_page_of_this_server_is_welcome_only_on_this_machine() {
        for host in ["localhost:4000", "127.0.0.1:4000", "[::1]:4000", "LocalHost:4000"] {
            assert!(welcome(&[], host, &format!("http://{host}")), "{host}");
        }
        // Its own name server may point the last of these here.
        for host in ["localhost:4001", "localhost", "127.0.0.2:4000", "192.0.2.1:4000", "evil.example:4000"] {
            assert!(!welcome(&[], host, &format!("http://{host}")), "{host}");
        }
        assert!(!welcome(&[], "localhost:4000", "https://localhost:4000"));
        assert!(!welcome(&[], "localhost:4000", "http://127.0.0.1:4000"), "another origin");
        assert!(!welcome(&[], "localhost:4000", "http://evil.example:4000"));
        assert!(!welcome(&[], "evil.example@localhost:4000", "http://localhost:4000"));
        assert!(!welcome(&[], "localhost:4000", "null"));
    }

    #[test]
    fn a_program_names_no_origin_and_two_are_one_too_many() {
        let origins = Origins::default();
        assert!(origins.welcome(&headers(&[(header::HOST, "api.example")]), Some(4000)));
        let own = "http://localhost:3000";
        assert!(origins.welcome(&headers(&[(header::ORIGIN, own)]), None));
        assert!(!origins.welcome(&headers(&[(header::ORIGIN, own), (header::ORIGIN, own)]), None));
    }

    #[test]
    fn every_page_is_welcome_only_where_no_cookie_signs_in() {
        assert!(welcome(&["*"], "api.example", "null") && welcome(&["*"], "api.example", "https://evil.example"));
        let any = Origins::try_from(vec!["*".to_owned()]).expect("any");
        assert_eq!(any.check_cookies(None), Ok(()));
        let error = any.check_cookies(Some("the mode session")).expect_err("a cookie");
        assert!(error.contains("allowed_origins") && error.contains("the mode session"), "{error}");
        assert_eq!(Origins::default().check_cookies(Some("the mode session")), Ok(()));
        Origins::try_from(vec!["*".to_owned(), "https://example.com".to_owned()]).expect_err("not alone");
    }

    #[test]
    fn what_is_no_origin_is_refused_with_an_example() {
        for wrong in
            ["localhost:3000", "https://example.com/", "https://example.com/app", "ftp://example.com", "*", "null", ""]
        {
            let error = Origin::try_from(wrong.to_owned()).expect_err(wrong);
            assert!(error.contains("https://example.com"), "{error}");
        }
    }
}
