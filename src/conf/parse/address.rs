//! Lines of `virtual_ipaddress` and `virtual_ipaddress_excluded`.

use std::net::{IpAddr, Ipv4Addr};
use std::slice::Iter;

use super::super::AddressFlags;
use super::super::diagnostic::{Severity, Span};
use super::super::lex::{Statement, Word};
use super::{At, Reader, value};

/// A virtual address as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressRaw {
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// `dev`.
    pub interface: Option<At<String>>,
    /// `brd`.
    pub broadcast: Option<Ipv4Addr>,
    /// `label`.
    pub label: Option<String>,
    /// `scope`, as the kernel's number.
    pub scope: u8,
    /// `noprefixroute`.
    pub no_prefix_route: bool,
    /// `no_track`.
    pub no_track: bool,
    /// `use_vmac`.
    pub use_vmac: bool,
    /// `preferred_lft`, in seconds; otherwise for ever.
    pub preferred_lft: Option<u32>,
    /// `track_group`, of a static one.
    pub group: Option<String>,
    /// `peer`.
    pub peer: Option<IpAddr>,
    /// `home`, `-nodad`, `mngtmpaddr`, `autojoin`.
    pub flags: AddressFlags,
    /// Where it stands.
    pub span: Span,
    has_length: bool,
    has_lifetime: bool,
}

/// Longest label and interface name, in bytes: the kernel's IFNAMSIZ less its final zero.
pub(super) const NAME_BYTES_MAX: usize = 15;

/// What a word on the line does to the address.
enum Outcome {
    Keep,
    Drop,
}

impl Reader {
    /// One address; `None` if it does not hold.
    pub(super) fn address(&mut self, statement: &Statement) -> Option<AddressRaw> {
        let (first, options) = statement.words.split_first()?;
        let mut address = self.bare_address(first)?;
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if let Outcome::Drop = self.option(first, option, &mut options, &mut address) {
                return None;
            }
        }
        if address.ip.is_ipv6() && address.prefix_len == 128 && !address.has_lifetime {
            // keepalived's default: such an address serves, but is no source for connections.
            address.preferred_lft = Some(0);
        }
        Some(address)
    }

    /// `ADDRESS[/LENGTH]`.
    pub(super) fn bare_address(&mut self, word: &Word) -> Option<AddressRaw> {
        let (ip, length) = match word.text.split_once('/') {
            Some((ip, length)) => (ip, Some(length)),
            None => (word.text.as_str(), None),
        };
        let Ok(ip) = ip.parse::<IpAddr>() else {
            let message = format!("VRRP parsed invalid IP {}. skipping IP...", word.text);
            self.fault(word.span, message);
            return None;
        };
        let whole: u8 = if ip.is_ipv4() { 32 } else { 128 };
        let mut prefix_len = whole;
        if let Some(length) = length.filter(|length| !length.is_empty()) {
            match value::number(length, &(0..=i64::from(whole))) {
                Ok(length) => prefix_len = u8::try_from(length).unwrap_or(whole),
                Err(what) => {
                    let message = format!(
                        "{what}; Invalid address prefix len {length} for address {} - using {whole}",
                        word.text
                    );
                    self.fault(word.span, message);
                }
            }
        }
        Some(AddressRaw {
            ip,
            prefix_len,
            interface: None,
            broadcast: None,
            label: None,
            scope: 0,
            no_prefix_route: false,
            no_track: false,
            use_vmac: false,
            preferred_lft: None,
            peer: None,
            flags: AddressFlags::default(),
            group: None,
            span: word.span,
            has_length: word.text.contains('/'),
            has_lifetime: false,
        })
    }

    fn option(
        &mut self,
        first: &Word,
        option: &Word,
        rest: &mut Iter<'_, Word>,
        address: &mut AddressRaw,
    ) -> Outcome {
        match option.text.as_str() {
            "noprefixroute" => address.no_prefix_route = true,
            "no_track" => address.no_track = true,
            "home" => address.flags.home = true,
            "-nodad" => address.flags.detect_duplicates = true,
            "mngtmpaddr" => address.flags.make_temporary = true,
            "autojoin" => address.flags.join = true,
            "use_vmac" => address.use_vmac = true,
            "dev" | "brd" | "broadcast" | "label" | "scope" | "preferred_lft" | "peer" => {
                let Some(value) = rest.next() else {
                    let message =
                        format!("No {} parameter specified for {}", option.text, first.text);
                    self.fault(option.span, message);
                    return Outcome::Keep;
                };
                return self.valued_option(option, value, address);
            }
            "track_group" if self.in_static => match rest.next() {
                Some(group) => address.group = Some(group.text.clone()),
                None => self.missing(first, 2),
            },
            other => {
                let mut message =
                    format!("Unknown configuration entry '{other}' for ip address - ignoring");
                if other.parse::<IpAddr>().is_ok() {
                    message.push_str("; one address a line");
                }
                self.fault(option.span, message);
            }
        }
        Outcome::Keep
    }

    fn valued_option(&mut self, option: &Word, value: &Word, address: &mut AddressRaw) -> Outcome {
        let text = value.text.as_str();
        match option.text.as_str() {
            // Set on the instance's own interface instead, it would be reachable elsewhere.
            "dev" => address.interface = self.interface_name(value, Severity::Error),
            "label" if text.len() > NAME_BYTES_MAX => {
                let message = format!(
                    "Address label {text} is longer than maximum length {NAME_BYTES_MAX} - \
                     removing address"
                );
                self.fault(value.span, message);
                return Outcome::Drop;
            }
            "label" if address.ip.is_ipv6() => {
                let message = format!(
                    "Cannot specify label for IPv6 addresses ({}) - ignoring label",
                    address.ip
                );
                self.fault(value.span, message);
            }
            "label" => address.label = Some(text.to_owned()),
            "scope" => match scope(text) {
                Some(scope) => address.scope = scope,
                None => {
                    let message =
                        format!("Invalid scope '{text}' specified for {} - ignoring", address.ip);
                    self.fault(value.span, message);
                }
            },
            "preferred_lft" => self.preferred_lft(value, address),
            "peer" => self.peer(value, address),
            _ => return self.broadcast(value, address),
        }
        Outcome::Keep
    }

    /// `forever`, or seconds.
    fn preferred_lft(&mut self, value: &Word, address: &mut AddressRaw) {
        let otherwise = format!("preferred_lft {} is invalid", value.text);
        if value.text == "forever" {
            address.preferred_lft = None;
        } else if let Some(seconds) = self.number(value, 0..=i64::from(u32::MAX), &otherwise) {
            address.preferred_lft = u32::try_from(seconds).ok();
        } else {
            return;
        }
        address.has_lifetime = true;
    }

    /// The other end of a point-to-point link, whose address is then the whole prefix.
    fn peer(&mut self, value: &Word, address: &mut AddressRaw) {
        let Ok(peer) = value.text.parse::<IpAddr>() else {
            self.fault(value.span, format!("Invalid peer address {}", value.text));
            return;
        };
        if peer.is_ipv4() != address.ip.is_ipv4() {
            let message = format!("Peer address {peer} does not match address family");
            self.fault(value.span, message);
            return;
        }
        if address.has_length {
            let message = "Cannot specify address prefix when specifying peer address - ignoring";
            self.fault(value.span, message);
        }
        address.prefix_len = if peer.is_ipv4() { 32 } else { 128 };
        address.peer = Some(peer);
    }

    fn broadcast(&mut self, value: &Word, address: &mut AddressRaw) -> Outcome {
        let IpAddr::V4(ip) = address.ip else {
            let message = format!(
                "VRRP is trying to assign a broadcast {} to the IPv6 address {}; skipping VIP...",
                value.text, address.ip
            );
            self.fault(value.span, message);
            return Outcome::Drop;
        };
        let text = value.text.as_str();
        if !matches!(text, "+" | "-") {
            if let Ok(broadcast) = text.parse() {
                address.broadcast = Some(broadcast);
                return Outcome::Keep;
            }
            let message =
                format!("VRRP is trying to assign invalid broadcast {text}. skipping VIP...");
            self.fault(value.span, message);
            return Outcome::Drop;
        }
        let host_bits = u32::MAX.checked_shr(address.prefix_len.into());
        let Some(mask) = host_bits.filter(|&bits| bits > 1) else {
            let message =
                format!("Address prefix length {} too long for broadcast", address.prefix_len);
            self.fault(value.span, message);
            return Outcome::Keep;
        };
        let bits = ip.to_bits();
        let bits = if text == "+" { bits | mask } else { bits & !mask };
        address.broadcast = Some(Ipv4Addr::from_bits(bits));
        Outcome::Keep
    }

    /// The name of an interface, if the kernel could have one of that name.
    pub(super) fn interface_name(
        &mut self,
        word: &Word,
        otherwise: Severity,
    ) -> Option<At<String>> {
        let wrong = if word.text.len() > NAME_BYTES_MAX {
            "too long"
        } else if word.text.is_empty() || word.text.contains(['/', '\0']) {
            "invalid"
        } else {
            return Some(At { value: word.text.clone(), span: word.span });
        };
        let message = format!("Interface name '{}' {wrong} - ignoring", word.text);
        self.say(otherwise, word.span, message);
        None
    }
}

/// iproute2's names for scopes, or a number.
fn scope(text: &str) -> Option<u8> {
    match text {
        "global" | "universe" => Some(0),
        "site" => Some(200),
        "link" => Some(253),
        "host" => Some(254),
        "nowhere" => Some(255),
        number => match number.strip_prefix("0x") {
            Some(hex) => u8::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        },
    }
}
