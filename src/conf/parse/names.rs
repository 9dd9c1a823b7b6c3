//! Names for the numbers of tables, scopes and their like, as iproute2 keeps them in files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::Files;
use super::super::lex::Statement;

/// The blocks in which these names may stand.
const BLOCKS: [&str; 4] = ["virtual_routes", "virtual_rules", "static_routes", "static_rules"];

type Table = BTreeMap<String, u32>;

/// Everything that may be written by name in a route or a rule.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub(super) tables: Table,
    pub(super) scopes: Table,
    pub(super) protocols: Table,
    pub(super) fields: Table,
    pub(super) realms: Table,
    pub(super) groups: Table,
    pub(super) ip_protocols: Table,
}

impl Names {
    /// Reads the files of this machine if anything in the configuration may need them. A file that
    /// is not there has no names.
    pub fn read(statements: &[Statement], files: &mut Files<'_>) -> Self {
        let mut names = Self::known();
        if !mentions(statements) {
            return names;
        }
        let tables = [
            ("rt_tables", &mut names.tables),
            ("rt_scopes", &mut names.scopes),
            ("rt_protos", &mut names.protocols),
            ("rt_dsfield", &mut names.fields),
            ("rt_realms", &mut names.realms),
            ("group", &mut names.groups),
        ];
        for (name, table) in tables {
            let file = Path::new("/etc/iproute2").join(name);
            add(&file, files, table);
            for file in more(&file.with_extension("d"), files) {
                add(&file, files, table);
            }
        }
        if let Ok(text) = (files.read)(Path::new("/etc/protocols")) {
            for words in lines(&String::from_utf8_lossy(&text)) {
                if let Some(number) = words.get(1).and_then(|number| number.parse().ok()) {
                    let all = words.iter().take(1).chain(words.iter().skip(2));
                    names.ip_protocols.extend(all.map(|name| ((*name).to_owned(), number)));
                }
            }
        }
        names
    }

    /// What keepalived knows without a file.
    fn known() -> Self {
        let table = |pairs: &[(&str, u32)]| {
            pairs.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
        };
        Self {
            tables: table(&[("local", 255), ("main", 254), ("default", 253)]),
            scopes: table(&[
                ("global", 0),
                ("site", 200),
                ("link", 253),
                ("host", 254),
                ("nowhere", 255),
            ]),
            protocols: table(&[
                ("none", 0),
                ("redirect", 1),
                ("kernel", 2),
                ("boot", 3),
                ("static", 4),
                ("gated", 8),
                ("ra", 9),
                ("mrt", 10),
                ("zebra", 11),
                ("bird", 12),
                ("dnrouted", 13),
                ("xorp", 14),
                ("ntk", 15),
                ("dhcp", 16),
                ("keepalived", 18),
                ("babel", 42),
            ]),
            realms: table(&[("cosmos", 0)]),
            groups: table(&[("default", 0)]),
            ip_protocols: table(&[("icmp", 1), ("tcp", 6), ("udp", 17), ("ipv6-icmp", 58)]),
            fields: Table::new(),
        }
    }
}

/// A number, decimal or as `0x..` or `0..`, or a name of the table; at most `max`.
pub(super) fn find(table: &Table, text: &str, max: u32) -> Option<u32> {
    number(text).or_else(|| table.get(text).copied()).filter(|number| *number <= max)
}

/// A number as strtoul(3) reads it with base 0.
pub(super) fn number(text: &str) -> Option<u32> {
    let parse = |digits: &str, radix| {
        // from_str_radix would take a sign.
        digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, radix).ok())?
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => parse(digits, 16),
        None if text.len() > 1 && text.starts_with('0') => parse(text, 8),
        None => parse(text, 10),
    }
}

fn mentions(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| {
        statement.words.first().is_some_and(|word| BLOCKS.contains(&word.text.as_str()))
            || statement.block.as_deref().is_some_and(mentions)
    })
}

/// Of two numbers with the same name the first counts, as in keepalived: FRR calls a protocol of its own
/// `static`.
fn add(file: &Path, files: &mut Files<'_>, table: &mut Table) {
    let Ok(text) = (files.read)(file) else { return };
    for words in lines(&String::from_utf8_lossy(&text)) {
        if let [value, name, ..] = words.as_slice()
            && let Some(value) = number(value)
        {
            table.entry((*name).to_owned()).or_insert(value);
        }
    }
}

/// The files of a folder that iproute2 reads too.
fn more(folder: &Path, files: &mut Files<'_>) -> Vec<PathBuf> {
    let names = (files.list)(folder).unwrap_or_default();
    let mut all: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    all.sort();
    all
}

/// The words of each line, without comments.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_ascii_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_have_a_base_and_names_are_looked_up() {
        let names = Names::known();
        let table = |text| find(&names.tables, text, u32::MAX);
        assert_eq!(table("100"), Some(100));
        assert_eq!(table("0x64"), Some(100));
        assert_eq!(table("010"), Some(8));
        assert_eq!(table("0"), Some(0));
        assert_eq!(table("main"), Some(254));
        for text in ["", "nosuch", "-1", "+1", "0x", "09", "4294967296", "1x"] {
            assert_eq!(table(text), None, "{text}");
        }
        assert_eq!(find(&names.fields, "256", 255), None);
    }

    #[test]
    fn of_two_numbers_with_one_name_the_first_counts() {
        let mut read = |path: &Path| {
            let text = match path.ends_with("frr.conf") {
                true => "196 static\n197 blue\n",
                false => "4 static\n7 red\n",
            };
            Ok(text.as_bytes().to_vec())
        };
        let mut list = |_: &Path| Ok(vec!["README".into(), "frr.conf".into()]);
        let mut files = Files { read: &mut read, list: &mut list };
        let mut table = Names::known().protocols;
        for file in ["/etc/iproute2/rt_protos", "/etc/iproute2/rt_protos.d/frr.conf"] {
            add(Path::new(file), &mut files, &mut table);
        }
        let known = ["static", "red", "blue"].map(|name| table.get(name).copied());
        assert_eq!(known, [Some(4), Some(7), Some(197)]);
    }
}
