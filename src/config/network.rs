//! A range of addresses, as in `10.0.0.0/8`; or one address, as in `127.0.0.1`.

use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;

/// A range of IP addresses, as in `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` lies in it. An IPv4 address that is written as an IPv6 one is an IPv4
    /// address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = text.parse().or_else(|_no_prefix| text.parse().map(|address: IpAddr| address.into()));
        network
            .map(Self)
            .map_err(|_no_network| format!("'{text}' is not a network, as in 10.0.0.0/8 or 127.0.0.1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_begins_as_it_does() {
        let check = |network: &str, address: &str, contains: bool| {
            let of = Network::try_from(network.to_owned()).unwrap();
            assert_eq!(of.contains(address.parse().unwrap()), contains, "{network} {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.2", false);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("0.0.0.0/0", "::1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::1", "::1", true);
    }

    #[test]
    fn anything_else_is_no_network() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "host", "/8"] {
            assert!(Network::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
