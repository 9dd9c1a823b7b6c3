//! What an instance says on the wire: adverts, and priority 0.

use std::net::IpAddr;

use super::event::{Action, Level};
use super::instance::{Ctx, Instance};
use super::phase::Phase;
use super::receive::{auth_fields, interval_field, version};
use super::spec::{Auth, Destination};
use crate::wire::ah::protect;
use crate::wire::vrrp::{Advert, TTL};

impl Instance {
    /// Sends an advert at our own priority; not while an acquire goes on that was frozen.
    pub(super) fn send_advert(&mut self, ctx: &mut Ctx<'_>) {
        if matches!(&self.phase, Phase::Acquiring(acquiring) if acquiring.is_lapsed) {
            return;
        }
        if self.highest_sent < self.priority() {
            self.highest_sent = self.priority();
            if self.spec.gate.is_some() {
                self.remember(self.former, ctx);
            }
        }
        self.send(self.priority(), ctx);
    }

    /// Says that we give up.
    pub(super) fn send_priority_zero(&mut self, ctx: &mut Ctx<'_>) {
        if self.can_send(ctx) {
            self.stats.priority_zero_sent += 1;
            self.send(0, ctx);
            self.report(Level::Detail, "sent 0 priority".into(), ctx);
        }
    }

    fn send(&mut self, priority: u8, ctx: &mut Ctx<'_>) {
        let Some(source) = self.source else { return };
        let (auth_type, auth_data) = auth_fields(self.spec.auth);
        let advert = Advert {
            version: version(&self.spec),
            vrid: self.spec.vrid,
            priority,
            auth_type,
            interval: interval_field(&self.spec),
            addresses: self.spec.addresses.iter().map(|address| address.ip).collect(),
            auth_data,
        };
        let trailer = self.spec.hmac.as_ref().map_or_else(Vec::new, |hmac| {
            self.signing.sign(hmac, source, &advert.emit_v6(), ctx.wall.at(ctx.now))
        });
        let sequence = match self.spec.auth {
            Auth::Ah(_) => self.row.next(ctx.wall.at(ctx.now)),
            Auth::None | Auth::Pass(_) => 0,
        };
        let advert = (advert, trailer, sequence);
        // An identification of 0 would be replaced by the kernel's own.
        self.ip_id = self.ip_id.checked_add(1).unwrap_or(1);
        self.stats.adverts_sent += 1;
        match &self.spec.destination {
            Destination::Group(group) => self.send_to(&advert, source, *group, TTL, ctx),
            Destination::Peers { peers, ttl, .. } => {
                for peer in peers {
                    self.send_to(&advert, source, peer.ip, ttl.unwrap_or(TTL), ctx);
                }
            }
        }
    }

    /// All peers get the same identification, trailer and sequence number.
    fn send_to(
        &self,
        (advert, trailer, sequence): &(Advert, Vec<u8>, u32),
        source: IpAddr,
        to: IpAddr,
        ttl: u8,
        ctx: &mut Ctx<'_>,
    ) {
        let bytes = match (source, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let is_plain_sum = self.spec.v3_checksum_as_v2;
                let mut packet =
                    advert.emit_signed(self.ip_id, ttl, from, to, is_plain_sum, trailer);
                if let Auth::Ah(key) = &self.spec.auth {
                    protect(&mut packet, key, *sequence);
                }
                packet
            }
            (IpAddr::V6(_), IpAddr::V6(_)) => [advert.emit_v6().as_slice(), trailer].concat(),
            (IpAddr::V4(_) | IpAddr::V6(_), _) => return,
        };
        ctx.out.push(Action::Send { instance: self.id, source, to, bytes });
    }

    /// The interface is up and has an address to send from.
    pub(super) fn can_send(&self, ctx: &Ctx<'_>) -> bool {
        let mut needed = self.spec.xmit.iter().chain([&self.spec.link]);
        self.source.is_some() && needed.all(|id| ctx.links[id.0].is_up)
    }
}
