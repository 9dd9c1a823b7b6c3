//! What only `-t` looks for on this machine: the addresses that it has, and the storage. Some of it
//! takes time, and some of it is different while a daemon runs, so neither a start nor a reload asks.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::{instances, storage};
use crate::conf::{Config, Diagnostic, InstanceConf, Severity, Span, VirtualAddress};
use crate::core::spec::{Destination, Family, InstanceSpec};
use crate::shell::host::pidfile;

/// An address that an interface has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Present {
    interface: String,
    ip: IpAddr,
    prefix_len: u8,
}

/// What a person who asks is told of this machine beside [`super::audit`]; waits for other programs,
/// some seconds at most. `sees_links`: the interfaces of this network are those that count.
pub fn look_around(config: &Config, sees_links: bool) -> Vec<Diagnostic> {
    let mut found = storage::look(config);
    if sees_links {
        let paths = pidfile::default_paths(config.global.use_pid_dir, &config.global.daemon);
        let runs = |path| matches!(pidfile::look(path), pidfile::Found::Running(_));
        found.extend(addresses(config, &present(), paths.iter().any(|path| runs(path))));
    }
    found
}

fn present() -> Vec<Present> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let one = |one: nix::ifaddrs::InterfaceAddress| {
        let ip = ip_of(one.address.as_ref()?)?;
        let bits = match ip_of(one.netmask.as_ref()?)? {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        };
        let prefix_len = u8::try_from(bits).ok()?;
        Some(Present { interface: one.interface_name, ip, prefix_len })
    };
    all.filter_map(one).collect()
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// What does not fit the addresses that are there.
fn addresses(config: &Config, present: &[Present], daemon_runs: bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let is_virtual = |ip: IpAddr| instances(config).any(|(_, conf)| has(conf, ip));
    let lasting: Vec<&Present> = present.iter().filter(|one| !is_virtual(one.ip)).collect();
    for (spec, conf) in instances(config) {
        let name = &spec.name;
        for address in &conf.addresses {
            let interface = address.base.as_ref().unwrap_or(&address.interface);
            let here = present.iter().find(|one| one.ip == address.ip);
            if let (Some(one), false) = (here, daemon_runs) {
                let text = format!(
                    "({name}) {} has the virtual address {} already, and no daemon runs: one that a \
                     former run has left is put right at the start; if something else sets it, \
                     remove it there, or both nodes answer for it",
                    one.interface, address.ip
                );
                found.push(say(address.span, Severity::Note, text));
            } else if is_outside(address, interface, &lasting) {
                let text = format!(
                    "({name}) {interface} has no network for this address: neighbours reach it only \
                     by a route; is it the right interface, and is the prefix length missing?"
                );
                found.push(say(address.span, Severity::Note, text));
            }
        }
        found.extend(own_peers(spec, conf, &lasting));
        found.extend(no_own_address(config, spec, conf, present));
    }
    found
}

/// A node whose only address is a virtual one as well has none while it is backup.
fn no_own_address(
    config: &Config,
    spec: &InstanceSpec,
    conf: &InstanceConf,
    present: &[Present],
) -> Option<Diagnostic> {
    let interface = config.spec.links.get(spec.link.0)?;
    let is_source = |one: &&Present| {
        let is_v4 = matches!(one.ip, IpAddr::V4(_));
        one.interface == *interface && is_v4 == (spec.family == Family::V4)
    };
    let mut all = present.iter().filter(is_source).peekable();
    let only = all.peek()?.ip;
    if spec.source.is_some() || all.any(|one| !has(conf, one.ip)) {
        return None;
    }
    let text = format!(
        "({}) {interface} has no address but the virtual {only}, which is taken off while this node is \
         backup: then it can neither send nor become master; give {interface} an address of its own",
        spec.name
    );
    let span = conf.addresses.iter().find(|address| address.ip == only)?.span;
    Some(say(span, Severity::Warning, text))
}

fn has(conf: &InstanceConf, ip: IpAddr) -> bool {
    conf.addresses.iter().any(|address| address.ip == ip)
}

/// An address without a network of its own, on an interface that has others.
fn is_outside(address: &VirtualAddress, interface: &str, lasting: &[&Present]) -> bool {
    let is_host = address.prefix_len == if address.ip.is_ipv4() { 32 } else { 128 };
    let is_here = |one: &&&Present| {
        let same_family = one.ip.is_ipv4() == address.ip.is_ipv4();
        one.interface == interface && same_family && !is_local(one.ip)
    };
    let networks: Vec<_> = lasting.iter().filter(is_here).collect();
    is_host
        && address.peer.is_none()
        && !is_local(address.ip)
        && !networks.is_empty()
        && !networks.iter().any(|one| is_within(address.ip, one))
}

const fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

fn is_within(ip: IpAddr, network: &Present) -> bool {
    let (differing, bits) = match (ip, network.ip) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits() ^ other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits(), 128),
        _ => return false,
    };
    let host_bits = bits - network.prefix_len.min(bits);
    differing.checked_shr(host_bits.into()).unwrap_or(0) == 0
}

/// Peers that are this node itself. One that is the source address is named where it stands.
fn own_peers(spec: &InstanceSpec, conf: &InstanceConf, lasting: &[&Present]) -> Vec<Diagnostic> {
    let Destination::Peers { peers, .. } = &spec.destination else { return Vec::new() };
    let is_own = |ip: &IpAddr| {
        Some(*ip) != spec.source && !ip.is_loopback() && lasting.iter().any(|one| one.ip == *ip)
    };
    let tell = |ip: IpAddr| {
        let text = format!(
            "({}) unicast peer {ip} is an address of this node; adverts need not go there: list the \
             addresses of the others",
            spec.name
        );
        say(conf.span, Severity::Warning, text)
    };
    peers.iter().map(|peer| peer.ip).filter(is_own).map(tell).collect()
}

pub(super) const fn say(span: Span, severity: Severity, message: String) -> Diagnostic {
    Diagnostic { span, severity, message, suggestion: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(interface: &str, ip: &str, prefix_len: u8) -> Present {
        Present { interface: interface.to_owned(), ip: ip.parse().expect("address"), prefix_len }
    }

    fn said(text: &str, present: &[Present], daemon_runs: bool) -> Vec<String> {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let mut read = |_: &std::path::Path| Ok(text.as_bytes().to_vec());
        let mut list = |_: &std::path::Path| Err(missing());
        let mut files = crate::conf::Files { read: &mut read, list: &mut list };
        let context = crate::conf::Context::default();
        let loaded = crate::conf::load("x".as_ref(), &mut files, &context);
        addresses(&loaded.config, present, daemon_runs).into_iter().map(|d| d.message).collect()
    }

    const CONF: &str = "
        vrrp_instance V {
            interface eth0
            virtual_router_id 1
            unicast_peer {
                10.0.0.2
                10.0.0.3
            }
            virtual_ipaddress {
                10.0.0.9
                10.0.1.9
                10.0.2.9/24
                10.0.3.9 dev eth1
            }
        }";

    #[test]
    fn a_node_without_an_address_of_its_own_is_named() {
        let only = [network("eth0", "10.0.0.9", 24)];
        let found = said(CONF, &only, true);
        assert_eq!(
            found.iter().filter(|text| text.contains("of its own")).count(),
            1,
            "{found:#?}"
        );
        let both = [network("eth0", "10.0.0.9", 24), network("eth0", "10.0.0.1", 24)];
        let found = said(CONF, &both, true);
        assert!(!found.iter().any(|text| text.contains("of its own")), "{found:#?}");
        // It may have one of the other family.
        let sixth = [network("eth0", "10.0.0.9", 24), network("eth0", "fe80::1", 64)];
        assert!(said(CONF, &sixth, true).iter().any(|text| text.contains("of its own")));
    }

    #[test]
    fn addresses_outside_every_network_are_named() {
        let nets = [network("eth0", "10.0.0.1", 24), network("eth0", "fe80::1", 64)];
        let found = said(CONF, &nets, false);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("(V) eth0 has no network for this address"));
        assert_eq!(said(CONF, &[network("eth0", "10.0.0.1", 8)], false), [""; 0]);
        assert_eq!(said(CONF, &[network("eth0", "0.0.0.1", 0)], false), [""; 0]);
        // Nothing can be said of an interface that has no address.
        assert_eq!(said(CONF, &[], false), [""; 0]);
    }

    #[test]
    fn an_address_that_is_there_is_named_unless_a_daemon_runs() {
        let nets = [network("eth0", "10.0.0.1", 8), network("eth2", "10.0.0.9", 32)];
        let found = said(CONF, &nets, false);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("(V) eth2 has the virtual address 10.0.0.9 already"));
        assert_eq!(said(CONF, &nets, true), [""; 0]);
    }

    #[test]
    fn a_peer_that_is_this_node_is_named() {
        let found = said(CONF, &[network("eth0", "10.0.0.3", 8)], false);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("(V) unicast peer 10.0.0.3 is an address of this node"));
    }
}
