//! `reload`: answered when the configuration is read, which may take a while.

use std::time::Duration;

use super::protocol::Reply;
use super::server::ClientId;
use super::{Control, Running, line};
use crate::core::Time;

/// Who asks waits so long; less than a client waits for an answer.
const READING_MAX: Duration = Duration::from_secs(8);

/// Somebody who waits for a reload.
#[derive(Debug)]
pub(super) struct Asked {
    client: ClientId,
    /// What he wants to know is how the next one after this goes.
    is_for_next: bool,
    /// When he is told that it is not over.
    pub(super) give_up_at: Time,
}

impl Control {
    pub(super) fn answer_reload_later(
        &mut self,
        running: &Running<'_>,
        client: usize,
    ) -> Option<Vec<u8>> {
        if running.core.is_stopping() {
            return Some(line(&Reply::refused("refused", "the daemon is stopping")));
        }
        let client = self.server.defer(client)?;
        let give_up_at = running.now + READING_MAX;
        self.asked.push(Asked { client, is_for_next: running.is_reading, give_up_at });
        self.wants_reload = true;
        None
    }

    /// A reload is over: the count of instances, or what is wrong with the configuration.
    pub fn answer_reload(&mut self, result: Result<usize, Vec<String>>, now: Time) {
        let reply = match result {
            Ok(1) => Reply::done("reloaded; 1 instance"),
            Ok(count) => Reply::done(format!("reloaded; {count} instances")),
            Err(diagnostics) => {
                let text = "the configuration was refused; the running one goes on unchanged";
                Reply { diagnostics, ..Reply::refused("refused", text) }
            }
        };
        for asked in self.asked.extract_if(.., |asked| !asked.is_for_next) {
            self.server.reply_later(asked.client, &line(&reply), now);
        }
        self.asked.iter_mut().for_each(|asked| asked.is_for_next = false);
    }

    /// Whoever has waited too long is told so.
    pub(super) fn give_up_reload(&mut self, now: Time) {
        let text = "the configuration is still being read: a file or a directory server does not \
                    answer; the log will say how it went";
        let reply = line(&Reply::refused("refused", text));
        for asked in self.asked.extract_if(.., |asked| asked.give_up_at <= now) {
            self.server.reply_later(asked.client, &reply, now);
        }
    }
}
