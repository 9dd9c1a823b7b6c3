//! What an instance says on the wire: its adverts, signed if it signs them.

use std::net::IpAddr;

use super::ah::Row;
use super::context::Ctx;
use super::event::Action;
use super::hmac::Signing;
use super::receive::{auth_fields, interval_field, version};
use super::spec::{Auth, Destination, InstanceId, InstanceSpec};
use crate::wire::ah::protect;
use crate::wire::vrrp::{Advert, TTL};

/// What goes on from one advert to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Voice {
    /// The sequences that were used, and heard.
    pub(super) signing: Signing,
    /// The same with authentication headers.
    pub(super) row: Row,
    ip_id: u16,
}

impl Voice {
    /// Sends an advert, to the group or to every peer. All peers get the same identification,
    /// trailer and sequence number, as keepalived's do.
    pub(super) fn send(
        &mut self,
        instance: InstanceId,
        spec: &InstanceSpec,
        (source, priority): (IpAddr, u8),
        ctx: &mut Ctx<'_>,
    ) {
        let (auth_type, auth_data) = auth_fields(spec.auth);
        let advert = Advert {
            version: version(spec),
            vrid: spec.vrid,
            priority,
            auth_type,
            interval: interval_field(spec),
            addresses: spec.addresses.iter().map(|address| address.ip).collect(),
            auth_data,
        };
        let trailer = spec.hmac.as_ref().map_or_else(Vec::new, |hmac| {
            self.signing.sign(hmac, source, &advert.emit_v6(), ctx.wall.at(ctx.now))
        });
        let sequence = match spec.auth {
            Auth::Ah(_) => self.row.next(ctx.wall.at(ctx.now)),
            Auth::None | Auth::Pass(_) => 0,
        };
        // An identification of 0 would be replaced by the kernel's own.
        self.ip_id = self.ip_id.checked_add(1).unwrap_or(1);
        let mut send_to = |to: IpAddr, ttl: u8| {
            let bytes = match (source, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    let is_plain_sum = spec.v3_checksum_as_v2;
                    let (id, trailer) = (self.ip_id, &trailer);
                    let mut packet = advert.emit_signed(id, ttl, from, to, is_plain_sum, trailer);
                    if let Auth::Ah(key) = &spec.auth {
                        protect(&mut packet, key, sequence);
                    }
                    packet
                }
                (IpAddr::V6(_), IpAddr::V6(_)) => [advert.emit_v6(), trailer.clone()].concat(),
                (IpAddr::V4(_) | IpAddr::V6(_), _) => return,
            };
            ctx.out.push(Action::Send { instance, source, to, bytes });
        };
        match &spec.destination {
            Destination::Group(group) => send_to(*group, TTL),
            Destination::Peers { peers, ttl, .. } => {
                peers.iter().for_each(|peer| send_to(peer.ip, ttl.unwrap_or(TTL)));
            }
        }
    }
}
