//! What is tracked has to stand above what tracks it, as in keepalived, which knows of a script, a
//! process or a file only what it has read so far.

use super::super::Tracked;
use super::{Raw, Reader, TrackRaw};

impl Reader {
    /// A `vrrp_script`, a `vrrp_track_process` or a `track_file` of this name can be tracked from here
    /// on.
    pub(super) fn define(&mut self, what: Tracked, name: &str) {
        self.defined.insert((what, name.to_owned()));
    }

    /// Is it there, so far? Interfaces are anywhere.
    pub(super) fn is_defined(&self, what: Tracked, name: &str) -> bool {
        what == Tracked::Interface || self.defined.contains(&(what, name.to_owned()))
    }
}

/// Takes away, with a message, what tracks something that only comes later. What comes nowhere stays,
/// to be named with what it may have been meant for.
pub(super) fn drop_late(reader: &mut Reader, raw: &mut Raw) {
    for one in &mut raw.instances {
        keep_defined(reader, "vrrp_instance", &one.name, &mut one.tracks);
    }
    for one in &mut raw.groups {
        keep_defined(reader, "vrrp_sync_group", &one.name, &mut one.tracks);
    }
}

fn keep_defined(reader: &mut Reader, block: &str, name: &str, tracks: &mut Vec<TrackRaw>) {
    tracks.retain(|track| {
        let is_late = track.is_undefined && reader.is_defined(track.what, &track.name);
        if is_late {
            let message = format!(
                "({name}) track {} {} not found, ignoring... (it is defined further down: move it \
                 above {block} {name}, or nothing is checked)",
                track.what, track.name
            );
            reader.fault(track.span, message);
        }
        !is_late
    });
}
