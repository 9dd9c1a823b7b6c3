//! What the configuration wants of interfaces beside their addresses: the sysctl
//! `promote_secondaries`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::conf::Config;
use crate::core::spec::LinkId;
use crate::shell::kernel::link::Links;

/// The interfaces on which secondary addresses are promoted while the daemon runs: otherwise the
/// kernel takes off all other addresses of a network with the first of them.
#[derive(Debug, Default)]
pub struct Promoted(BTreeMap<(LinkId, u32), PathBuf>);

impl Promoted {
    /// Sets the sysctl where it is wanted and was not set by anybody. To be called whenever an
    /// interface has changed: one that is made anew begins with the default.
    pub fn sync(&mut self, config: &Config, links: &Links) {
        let wanted: BTreeSet<LinkId> = config
            .spec
            .instances
            .iter()
            .zip(&config.instances)
            .filter(|(_, conf)| conf.promote_secondaries)
            .map(|(spec, _)| spec.link)
            .collect();
        for link in wanted {
            let Some(index) = links.index(link).filter(|&index| index != 0) else { continue };
            if self.0.contains_key(&(link, index)) {
                continue;
            }
            let name = links.name(link);
            let path = PathBuf::from("/proc/sys/net/ipv4/conf").join(name);
            let path = path.join("promote_secondaries");
            match set(&path) {
                Ok(true) => drop(self.0.insert((link, index), path)),
                Ok(false) => {}
                Err(error) => log::warn!("promote_secondaries of {name}: {error}"),
            }
        }
    }

    /// Puts back what was set.
    pub fn restore(&mut self) {
        for path in std::mem::take(&mut self.0).into_values() {
            // The interface may be gone.
            if let Err(error) = fs::write(&path, "0") {
                log::debug!("{}: {error}", path.display());
            }
        }
    }
}

/// Sets a switch; false if it was on already.
fn set(path: &PathBuf) -> io::Result<bool> {
    if fs::read_to_string(path)?.trim() != "0" {
        return Ok(false);
    }
    fs::write(path, "1").map(|()| true)
}
