//! The settings of the firewall behind `no_accept`.

use super::super::lex::Statement;
use super::{GlobalRaw, Reader, value};

/// A name that nft can write without quotes, as keepalived's rules have it too.
fn is_table_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
        && text.len() <= 64
}

/// `nftables [NAME]`: the name of the tables.
pub(super) fn nftables(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    let Some(word) = statement.words.get(1) else { return };
    if is_table_name(&word.text) {
        global.conf.firewall.table.clone_from(&word.text);
        return;
    }
    let message = format!(
        "nftables '{}' is not a name for a table: letters, digits and any of _ - . /, 64 at \
         most, a letter first",
        word.text
    );
    reader.error(word.span, message);
}

/// `nftables_priority N`: when the chains are looked at, keepalived's default is -1.
pub(super) fn nftables_priority(
    reader: &mut Reader,
    statement: &Statement,
    global: &mut GlobalRaw,
) {
    let Some(word) = reader.value(statement) else { return };
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    match value::number(&word.text, &range).map(i32::try_from) {
        Ok(Ok(priority)) => global.conf.firewall.priority = priority,
        _ => {
            let message = format!("invalid nftables chain priority '{}'", word.text);
            reader.fault(word.span, message);
        }
    }
}

/// `vrrp_iptables`, `vrrp_ipsets`: a keepalived that is built with nftables does not take them.
pub(super) fn iptables(reader: &mut Reader, statement: &Statement, _: &mut GlobalRaw) {
    let Some(word) = statement.words.first() else { return };
    let message = match word.text.as_str() {
        "vrrp_iptables" => "iptables not supported, using nftables instead. Please replace \
                            'vrrp_iptables and 'vrrp_ipsets' with 'nftables' config option"
            .to_owned(),
        other => format!("Unknown keyword '{other}': nftables is used instead"),
    };
    reader.fault(word.span, message);
}
