//! Which addresses are of the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not public, as address and length of the prefix.
const NOT_PUBLIC_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),       // this network, unspecified
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10), // shared by customers of a carrier; some clouds keep their metadata there
    ([127, 0, 0, 0], 8),   // loopback
    ([169, 254, 0, 0], 16), // link-local, metadata of clouds
    ([172, 16, 0, 0], 12), // private
    ([192, 0, 0, 0], 24),  // protocols
    ([192, 0, 2, 0], 24),  // documentation
    ([192, 88, 99, 0], 24), // relays of 6to4
    ([192, 168, 0, 0], 16), // private
    ([198, 18, 0, 0], 15), // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24), // documentation
    ([224, 0, 0, 0], 4),   // multicast
    ([240, 0, 0, 0], 4),   // reserved, broadcast
];

/// Networks within the global unicast addresses of IPv6 that are not public.
const NOT_PUBLIC_V6: &[([u16; 3], u32)] = &[
    ([0x2001, 0x0000, 0], 23), // protocols, Teredo
    ([0x2001, 0x0db8, 0], 32), // documentation
    ([0x3fff, 0x0000, 0], 20), // documentation
];

/// Whether it is an address of the public internet: not of this machine, of a private network or of a link,
/// nor one behind which such an address is hidden.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !NOT_PUBLIC_V4.iter().any(|(network, length)| {
        let shift = 32 - length;
        bits >> shift == Ipv4Addr::from(*network).to_bits() >> shift
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // IPv4 in other clothes: mapped, and behind a translator.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(within(high, low))
        }
        // 6to4 leads to the address within.
        [0x2002, high, low, ..] => is_public_v4(within(high, low)),
        [first, ..] if first & 0xe000 != 0x2000 => false,
        segments => {
            let bits = u128::from(Ipv6Addr::from(segments));
            !NOT_PUBLIC_V6.iter().any(|([a, b, c], length)| {
                let network = Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0);
                let shift = 128 - length;
                bits >> shift == u128::from(network) >> shift
            })
        }
    }
}

fn within(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_machines_and_private_networks_are_not_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("172.32.0.1", true),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.1.2.3", false),
            ("100.100.100.200", false),
            ("127.8.8.8", false),
            ("169.254.169.254", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("192.0.0.192", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700:4700::1111", true),
            ("2a00:1450:4001::1", true),
            ("::", false),
            ("::1", false),
            ("::7f00:1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::808:808", true),
            ("64:ff9b:1::a00:1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("2002:808:808::", true),
            ("3fff::1", false),
            ("5f00::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    proptest! {
        /// The rules of the standard library are held to as well.
        #[test]
        fn what_is_known_not_to_be_public_is_not(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let known = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_unspecified() || address.is_broadcast() || address.is_documentation()
                || address.is_multicast();
            prop_assert!(!(known && is_public(address.into())), "{}", address);
            // However it is dressed up.
            let [high, low] = [(bits >> 16) as u16, bits as u16];
            for dressed in [
                address.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(is_public(dressed.into()), is_public(address.into()));
            }
        }

        #[test]
        fn nothing_but_global_unicast_is_public(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            let global = bits >> 125 == 1;
            prop_assert!(global || !is_public(address.into()), "{}", address);
        }
    }
}
