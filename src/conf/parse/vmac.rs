//! Virtual MAC addresses: `use_vmac` and what belongs to it.

use std::net::IpAddr;
use std::time::Duration;

use super::super::IpvlanMode;
use super::super::diagnostic::{Severity, Span};
use super::super::lex::{Statement, Word};
use super::address::NAME_BYTES_MAX;
use super::{At, GarpRaw, InstanceRaw, Reader};

/// A day, in seconds: keepalived's limit of `garp_extra_if`.
const EXTRA_MAX: i64 = 86_400;

/// `use_vmac` and its like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmacRaw {
    /// `use_vmac`.
    pub own: Option<Span>,
    /// The name it gives to its interface.
    pub name: Option<At<String>>,
    /// The address it gives to its interface.
    pub mac: Option<[u8; 6]>,
    /// `vmac_xmit_base`.
    pub xmit_base: Option<Span>,
    /// `use_ipvlan`.
    pub ipvlan: Option<IpvlanRaw>,
}

/// `use_ipvlan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpvlanRaw {
    /// The name it gives to its interface.
    pub name: Option<At<String>>,
    /// The address of its interface, with the length of its prefix.
    pub address: Option<At<(IpAddr, u8)>>,
    /// Whom it exchanges frames with.
    pub mode: Option<IpvlanMode>,
    /// Where it stands.
    pub span: Span,
}

/// `use_ipvlan [NAME] [ADDRESS] [bridge | private | vepa]`, in any order.
pub(super) fn use_ipvlan(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some((keyword, words)) = statement.words.split_first() else { return };
    let mut ipvlan = IpvlanRaw { name: None, address: None, mode: None, span: keyword.span };
    for word in words {
        let text = word.text.as_str();
        let twice = |what: &str| {
            format!("({}) {what} already specified - ignoring '{text}'", instance.name)
        };
        if let Some(value) = interface_address(text) {
            match ipvlan.address {
                Some(_) => reader.fault(word.span, twice("ipvlan address")),
                None => ipvlan.address = Some(At { value, span: word.span }),
            }
        } else if let Some(mode) = IpvlanMode::named(text) {
            match ipvlan.mode {
                Some(_) => reader.fault(word.span, twice("ipvlan type")),
                None => ipvlan.mode = Some(mode),
            }
        } else if ipvlan.name.is_some() {
            reader.fault(word.span, twice("IPVLAN interface"));
        } else if is_name(text) {
            ipvlan.name = Some(At { value: text.to_owned(), span: word.span });
        } else {
            let message =
                format!("ipvlan interface name '{text}' too long or invalid characters - ignoring");
            reader.fault(word.span, message);
        }
    }
    instance.vmac.ipvlan = Some(ipvlan);
}

/// `ADDRESS[/LENGTH]`; 32 or 128 without one.
fn interface_address(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = text.split_once('/').map_or((text, None), |(ip, n)| (ip, Some(n)));
    let ip: IpAddr = ip.parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |n| n.parse().ok())?;
    (length <= most).then_some((ip, length))
}

/// `use_vmac [NAME] [MAC]`, in any order.
pub(super) fn use_vmac(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some((keyword, words)) = statement.words.split_first() else { return };
    instance.vmac.own = Some(keyword.span);
    for word in words {
        if let Some(mac) = mac(&word.text) {
            reader.vmac_mac(word, mac, &mut instance.vmac);
        } else if instance.vmac.name.is_some() {
            reader.fault(word.span, "VMAC interface name already specified");
        } else if is_name(&word.text) {
            instance.vmac.name = Some(At { value: word.text.clone(), span: word.span });
        } else {
            let message = format!(
                "VMAC interface name '{}' too long or invalid characters - ignoring",
                word.text
            );
            reader.fault(word.span, message);
        }
    }
}

impl Reader {
    fn vmac_mac(&mut self, word: &Word, mac: [u8; 6], vmac: &mut VmacRaw) {
        if mac[0] & 1 != 0 {
            let message = format!("VMAC MAC address is multicast {} - ignoring", word.text);
            self.fault(word.span, message);
        } else if mac == [0; 6] {
            let message = format!("VMAC MAC address {} is none - ignoring", word.text);
            self.say(Severity::Warning, word.span, message);
        } else {
            vmac.mac = Some(mac);
        }
    }

    /// The beginning of a name. keepalived cuts off what is too long, and then fails to make the
    /// interface.
    pub(super) fn vmac_prefix(&mut self, statement: &Statement) -> Option<At<String>> {
        let word = self.value(statement)?;
        // The shortest of all rests is `.1`.
        if is_name(&word.text) && word.text.len() + 2 <= NAME_BYTES_MAX {
            return Some(At { value: word.text.clone(), span: word.span });
        }
        let message =
            format!("no interface can be called '{}.1': too long or invalid characters", word.text);
        self.error(word.span, message);
        None
    }

    /// `[all] SECONDS`, in any order; the least that `global_defs` takes is 1.
    pub(super) fn garp_extra(&mut self, statement: &Statement, least: i64, garp: &mut GarpRaw) {
        let Some((keyword, words)) = statement.words.split_first() else { return };
        let (all, times): (Vec<&Word>, Vec<&Word>) = words.iter().partition(|w| w.text == "all");
        if times.is_empty() {
            let message = format!("{} specified without time - ignoring", keyword.text);
            self.fault(keyword.span, message);
        }
        for word in times {
            let otherwise = format!("{} '{}' invalid - ignoring", keyword.text, word.text);
            if let Some(seconds) = self.leading_number(word, least..=EXTRA_MAX, &otherwise) {
                garp.extra = Some((Duration::from_secs(seconds.unsigned_abs()), !all.is_empty()));
            }
        }
    }

    pub(super) fn deprecated(&mut self, statement: &Statement, new: &str) {
        let Some(keyword) = statement.words.first() else { return };
        let message = format!("Keyword \"{}\" is deprecated - please use \"{new}\"", keyword.text);
        self.fault(keyword.span, message);
    }
}

/// What the kernel takes for the name of an interface.
fn is_name(text: &str) -> bool {
    let is_odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
    !matches!(text, "" | "." | "..") && text.len() <= NAME_BYTES_MAX && !text.contains(is_odd)
}

/// Six bytes, as `00:00:5e:00:01:33`.
fn mac(text: &str) -> Option<[u8; 6]> {
    let byte = |part: &str| {
        let is_hex = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(part, 16).ok()).flatten()
    };
    text.split(':').map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_have_six_bytes() {
        assert_eq!(mac("00:00:5e:00:01:33"), Some([0, 0, 0x5e, 0, 1, 0x33]));
        assert_eq!(mac("2:0:0:A:b:C"), Some([2, 0, 0, 10, 11, 12]));
        for text in ["", "v0", "0:0:0:0:0", "0:0:0:0:0:0:0", "0:0:0:0:0:", "0:0:0:0:0:+1"] {
            assert_eq!(mac(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_what_the_kernel_takes() {
        for text in ["v", "vrrp.51", "abcdefghijklmno"] {
            assert!(is_name(text), "{text}");
        }
        for text in ["", ".", "..", "a/b", "a:b", "a b", "abcdefghijklmnop"] {
            assert!(!is_name(text), "{text}");
        }
    }
}
