//! `hold` and `unhold`: they count at once, and are answered when they are on the disk.

use std::time::Duration;

use super::protocol::Reply;
use super::server::ClientId;
use super::{Control, Running, line};
use crate::core::event::Event;
use crate::core::spec::InstanceId;
use crate::core::{Core, Time};
use crate::shell::host::errand::Errand;

/// Who asks waits so long for the disk; less than a client waits for an answer.
const DISK_MAX: Duration = Duration::from_secs(5);

/// An answer that waits for the disk.
#[derive(Debug)]
pub(super) struct Pending {
    client: ClientId,
    /// The change that has to be written.
    change: u64,
    reply: Reply,
    /// When it is given with a warning.
    pub(super) give_up_at: Time,
}

impl Control {
    pub(super) fn answer_hold(
        &mut self,
        running: &mut Running<'_>,
        client: usize,
        name: &str,
        is_on: bool,
    ) -> Option<Vec<u8>> {
        let mut change = 0;
        let reply = self.on(running, name, |control, running, id| {
            let (last, text) = control.set_hold(running, id, is_on);
            change = last;
            Ok(text.to_owned())
        });
        let client = self.server.defer(client).filter(|_| reply.ok);
        let Some(client) = client else { return Some(line(&reply)) };
        let give_up_at = running.now + DISK_MAX;
        self.pending.push(Pending { client, change, reply, give_up_at });
        None
    }

    /// Returns the number of the last change, and what was done in words.
    fn set_hold(
        &mut self,
        running: &mut Running<'_>,
        id: InstanceId,
        is_on: bool,
    ) -> (u64, &'static str) {
        let was_on = running.core.instances()[id].is_held();
        let mut change = 0;
        for member in running.core.company_of(id) {
            let name = running.core.instances()[member].spec.name.clone();
            change = self.keep_hold(running.core, &name, is_on);
        }
        self.record_of_company(running, if is_on { "hold" } else { "unhold" }, id, "");
        running.core.handle(Event::Hold { instance: id, is_on }, running.now);
        let text = match (is_on, was_on) {
            (true, false) => "on hold, also after a restart, until glha unhold",
            (true, true) => "it was on hold already",
            (false, true) => "no longer on hold",
            (false, false) => "it was not on hold",
        };
        (change, text)
    }

    pub(super) fn keep_hold(&mut self, core: &Core, name: &str, is_on: bool) -> u64 {
        let instances = core.instances();
        let all: Vec<&str> = instances.iter().map(|i| i.spec.name.as_str()).collect();
        self.holds.set(name, is_on, &all)
    }

    /// Has the file written if it is to be, and answers those that have waited for that.
    pub(super) fn write_holds(&mut self, now: Time) {
        let control = self;
        if let Some(draft) = control.holds.draft(now) {
            let work = || draft.write().map_err(|error| error.to_string());
            if let Err(error) = control.errands.start(Errand::Holds, work) {
                control.holds.ended(Err(error.to_string()), now);
            }
        }
        let holds = &control.holds;
        let is_over = |pending: &mut Pending| {
            holds.is_written(pending.change)
                || holds.failure().is_some()
                || pending.give_up_at <= now
        };
        for Pending { client, change, mut reply, .. } in control.pending.extract_if(.., is_over) {
            if !holds.is_written(change) {
                let why = holds.failure().map_or_else(
                    || format!("the disk has not answered for {} s", DISK_MAX.as_secs()),
                    str::to_owned,
                );
                reply.warning = Some(format!("it counts, but may be lost with a restart: {why}"));
            }
            control.server.reply_later(client, &line(&reply), now);
        }
    }
}
