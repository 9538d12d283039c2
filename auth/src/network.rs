//! Where a request comes from, by which attempts are counted.

use std::net::{IpAddr, SocketAddr};

/// The network of a request: an IPv4 address, or the /64 network of an IPv6 address, which usually is one
/// household's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceNetwork(String);

impl SourceNetwork {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of an address as API Gateway and what stands before it write them: with a port or without, an IPv6 address in
    /// brackets or without, with a zone or without. `None` if it is not an address: then not all requests may share the
    /// counter of one.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        let address = address.trim();
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let without_zone = bare.split_once('%').map_or(bare, |(address, _zone)| address);
        let ip = match (without_zone.parse::<IpAddr>(), address.parse::<SocketAddr>()) {
            (Ok(ip), _) => ip,
            (Err(_), Ok(with_port)) => with_port.ip(),
            (Err(_), Err(_)) => return None,
        };
        Some(Self(match ip.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_however_it_is_written_and_an_ipv6_address_is_its_network() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            (" 192.0.2.7\n", "192.0.2.7"),
            ("192.0.2.7:49152", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:443", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80:0:0:0::/64"),
            ("[fe80::1%eth0]", "fe80:0:0:0::/64"),
        ] {
            assert_eq!(SourceNetwork::of(address).map(|network| network.0).as_deref(), Some(network), "{address:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in ["", "unknown", "192.0.2.7, 192.0.2.8", "192.0.2", "192.0.2.7:port", "[192.0.2.7", "example.com"] {
            assert_eq!(SourceNetwork::of(text), None, "{text:?}");
        }
    }
}
