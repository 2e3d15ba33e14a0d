//! Whom a proxy forwards.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::Deserialize;

/// The one header that is read. RFC 7239's `Forwarded` is not: a proxy would pass on the one that a client wrote.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct TrustedProxies(Vec<IpNet>);

impl TryFrom<Vec<String>> for TrustedProxies {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        let network = |text: &String| {
            let address = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
            text.parse::<IpNet>().ok().or_else(address).ok_or_else(|| {
                format!(
                    "{text:?} is no address and no network: expected such as \"10.0.0.7\", \"10.0.0.0/8\" or \"fd00::/8\""
                )
            })
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's own address: the peer's, unless that is a trusted proxy. Then the last address of `X-Forwarded-For`
    /// that is not a trusted proxy too.
    ///
    /// What stands before that one, anybody can have written, so it is not even read. Where the trusted proxies say
    /// something that is no address, or name only one another, the peer's address stands.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        for line in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(line) = line.to_str() else { return peer };
            for entry in line.rsplit(',') {
                match address(entry.trim()) {
                    None => return peer,
                    Some(address) if self.contains(address) => {}
                    Some(address) => return address,
                }
            }
        }
        peer
    }
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn proxies(texts: &[&str]) -> TrustedProxies {
        texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().try_into().expect("networks")
    }

    fn seen(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).expect("a header"));
        }
        proxies(trusted).client_address(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(seen(&[], "10.0.0.1", &["1.2.3.4"]), "10.0.0.1");
        assert_eq!(seen(&["10.0.0.0/8"], "192.0.2.1", &["1.2.3.4"]), "192.0.2.1");
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy_whatever_it_wrote_before_that() {
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(seen(&trusted, "10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen(&trusted, "10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen(&trusted, "10.0.0.1", &["6.6.6.6", "1.2.3.4 , 10.0.0.2", "fd00::5"]), "1.2.3.4");
        assert_eq!(seen(&trusted, "10.0.0.1", &["nonsense, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen(&trusted, "::ffff:10.0.0.1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(seen(&trusted, "10.0.0.1", &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(seen(&trusted, "10.0.0.1", &["[2001:db8::7]:5678"]), "2001:db8::7");
        assert_eq!(seen(&trusted, "10.0.0.1", &["[2001:db8::7]"]), "2001:db8::7");
    }

    #[test]
    fn where_a_proxy_says_nothing_of_use_its_own_address_counts() {
        let trusted = ["10.0.0.0/8"];
        for lines in
            [&[][..], &[""], &["1.2.3.4, "], &["1.2.3.4, unknown"], &["10.0.0.3, 10.0.0.2"], &["1.2.3.4, \u{e9}"]]
        {
            assert_eq!(seen(&trusted, "10.0.0.1", lines), "10.0.0.1", "{lines:?}");
        }
    }

    #[test]
    fn a_single_address_is_a_network_of_one_and_what_is_neither_is_refused() {
        assert_eq!(seen(&["10.0.0.1"], "10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen(&["10.0.0.1"], "10.0.0.2", &["1.2.3.4"]), "10.0.0.2");
        for wrong in ["", "proxy.example", "10.0.0.0/33", "10.0.0"] {
            let error = TrustedProxies::try_from(vec![wrong.to_owned()]).expect_err(wrong);
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
    }
}
