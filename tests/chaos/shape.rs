//! What a pair is made of: its configuration, and what its master has that the other has not.

use super::lab::{ARTICLE_VIP, Host, conf};
use super::random::Random;

/// What the master has beside the address of the article.
pub const MORE_ADDRESS: &str = "172.16.51.91";
/// The address of a second instance.
pub const SECOND_ADDRESS: &str = "172.16.51.92";
const SIXTH: &str = "fd00:51::70";
const SIXTH_LOCAL: &str = "fe80::70";
const MORE_SIXTH: &str = "fd00:51::91";
const ROUTE: &str = "10.66.0.0/24";
const SIXTH_ROUTE: &str = "fd00:66::/64";
const RULE: &str = "from 10.67.0.0/16";
/// The interface of a VMAC.
pub const VMAC: &str = "vrrp.51";
/// The configuration of a node.
pub const FILE: &str = "/etc/keepalived/keepalived.conf";
/// That of a second daemon.
pub const SECOND_FILE: &str = "/etc/keepalived/second.conf";

/// What a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An instance with addresses, a route and a rule.
    Plain,
    /// The same, with storage.
    Gated,
    /// One of IPv6.
    Ipv6,
    /// Three instances of both families in a sync group.
    Group,
    /// Adverts to the other node alone.
    Unicast,
    /// A virtual MAC address.
    Vmac,
    /// Packets to the addresses are dropped.
    Closed,
    /// A second daemon on each host, for an instance of its own.
    Several,
}

const ALL: [Shape; 8] = [
    Shape::Plain,
    Shape::Gated,
    Shape::Ipv6,
    Shape::Group,
    Shape::Unicast,
    Shape::Vmac,
    Shape::Closed,
    Shape::Several,
];

impl Shape {
    /// One of them; the seeds 0 to 7 have them all.
    pub fn draw(seed: u64, random: &mut Random) -> Self {
        let first = usize::try_from(seed).ok().and_then(|place| ALL.get(place)).copied();
        first.unwrap_or(ALL[random.below(ALL.len())])
    }

    /// Has it storage? There is no guard, so a node that is silent for long may lose it to the other.
    pub fn has_storage(self) -> bool {
        self == Self::Gated
    }

    /// Has it addresses of IPv6?
    pub fn has_ipv6(self) -> bool {
        matches!(self, Self::Ipv6 | Self::Group)
    }

    fn has_ipv4(self) -> bool {
        self != Self::Ipv6
    }

    /// Has it a route of IPv4?
    pub fn has_route(self) -> bool {
        self.has_ipv4()
    }

    /// How many daemons each host has.
    pub fn daemons(self) -> usize {
        if self == Self::Several { 2 } else { 1 }
    }

    /// All virtual addresses of a master.
    pub fn addresses(self) -> &'static [&'static str] {
        match self {
            Self::Ipv6 => &[SIXTH_LOCAL, SIXTH, MORE_SIXTH],
            Self::Group => {
                &[ARTICLE_VIP, MORE_ADDRESS, SECOND_ADDRESS, SIXTH_LOCAL, SIXTH, MORE_SIXTH]
            }
            Self::Several => &[ARTICLE_VIP, MORE_ADDRESS, SECOND_ADDRESS],
            _ => &[ARTICLE_VIP, MORE_ADDRESS],
        }
    }

    /// What [`Self::look`] shows of a master, and of nobody else.
    fn shown(self) -> &'static [&'static str] {
        match self {
            Self::Ipv6 => &[SIXTH_ROUTE],
            Self::Group => &[SIXTH_ROUTE, ROUTE, RULE],
            Self::Closed => &[ROUTE, RULE, "elements = { 172.16.51.70, 172.16.51.91 }"],
            _ => &[ROUTE, RULE],
        }
    }

    /// What it shows of both nodes.
    fn shown_on_both(self) -> &'static [&'static str] {
        match self {
            Self::Vmac => &[
                "link/ether 00:00:5e:00:01:33",
                "macvlan mode private",
                "UP,LOWER_UP",
                "net.ipv4.conf.eth0.arp_ignore = 1",
            ],
            Self::Closed => &["ip saddr @vips drop", "ip daddr @vips drop"],
            _ => &[],
        }
    }

    /// What a host has that is no address.
    fn look(self, host: &Host) -> String {
        let more = match self {
            Self::Vmac => "ip -d -o link show vrrp.51; sysctl net.ipv4.conf.eth0.arp_ignore",
            Self::Closed => "nft list ruleset",
            _ => "",
        };
        host.run(&format!("ip route; ip -6 route; ip rule; {more}")).said
    }

    /// What a host has not got of that which a master, or every node, has.
    pub fn missing(self, host: &Host, is_master: bool) -> Vec<&'static str> {
        let (addresses, shown) =
            if is_master { (self.addresses(), self.shown()) } else { (&[][..], &[][..]) };
        let addresses = addresses.iter().filter(|ip| !host.has_address(ip));
        let mut missing: Vec<&str> = addresses.copied().collect();
        let seen = self.look(host);
        let lacking =
            shown.iter().chain(self.shown_on_both()).filter(|text| !seen.contains(**text));
        missing.extend(lacking.copied());
        missing
    }

    /// What a host has that only a master may have.
    pub fn left(self, host: &Host) -> Vec<&'static str> {
        let mut left: Vec<&str> =
            self.addresses().iter().filter(|ip| host.has_address(ip)).copied().collect();
        let seen = self.look(host);
        left.extend(self.shown().iter().filter(|text| seen.contains(**text)).copied());
        left
    }

    /// The script that puts a host's own addresses where they belong, whatever became of them.
    pub fn own(self, place: usize) -> String {
        let n = place + 11;
        let mut script = format!("ip addr replace 172.16.51.{n}/24 brd + dev eth0\n");
        if self.has_ipv6() {
            script += &format!(
                "cd /proc/sys/net/ipv6/conf; echo 0 >eth0/accept_dad; echo 0 >eth0/dad_transmits
                echo 0 >lo/disable_ipv6; echo 0 >eth0/disable_ipv6
                ip addr replace fe80::51:{n}/64 dev eth0 nodad
                ip addr replace fd00:51::{n}/64 dev eth0 nodad\n"
            );
        }
        script
    }

    /// The configuration of each daemon of a node, with its file.
    pub fn files(self, place: usize, priority: u8) -> Vec<(&'static str, String)> {
        let on_link = format!("virtual_routes {{\n{ROUTE} dev eth0\n}}\n");
        let rules = format!("virtual_rules {{\n{RULE} table 100 priority 300\n}}\n");
        let excluded = format!("virtual_ipaddress_excluded {{\n{MORE_ADDRESS}\n}}\n");
        let more = match self {
            Self::Unicast => {
                let peer = 12 - place;
                let own = 11 + place;
                format!(
                    "unicast_src_ip 172.16.51.{own}\nunicast_peer {{\n172.16.51.{peer}\n}}\n\
                     {excluded}{on_link}{rules}"
                )
            }
            Self::Vmac => format!("use_vmac {VMAC}\n{excluded}{on_link}{rules}"),
            Self::Closed => format!("no_accept\n{excluded}{on_link}{rules}"),
            _ => format!("{excluded}{on_link}{rules}"),
        };
        let first = conf(priority, &more);
        match self {
            Self::Ipv6 => vec![(FILE, six(priority))],
            Self::Group => {
                let group = "vrrp_sync_group G {\ngroup {\nVI_1\nVI_2\nVI_6\n}\n}\n";
                vec![(FILE, first + &second(priority) + &six(priority) + group)]
            }
            Self::Several => {
                // Neither daemon knows the other's addresses: the source of adverts is written down.
                let own = format!("\n    mcast_src_ip 172.16.51.{}", 11 + place);
                let on = "interface eth0";
                let with_source = |text: String| text.replace(on, &format!("{on}{own}"));
                let name = "instance second\n".to_owned();
                vec![
                    (FILE, with_source(first)),
                    (SECOND_FILE, with_source(name + &second(priority))),
                ]
            }
            _ => vec![(FILE, first)],
        }
    }
}

fn second(priority: u8) -> String {
    format!(
        "vrrp_instance VI_2 {{
    state BACKUP
    interface eth0
    virtual_router_id 52
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        {SECOND_ADDRESS}
    }}
}}
"
    )
}

fn six(priority: u8) -> String {
    format!(
        "vrrp_instance VI_6 {{
    state BACKUP
    interface eth0
    virtual_router_id 53
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        {SIXTH_LOCAL}
        {SIXTH}/64
    }}
    virtual_ipaddress_excluded {{
        {MORE_SIXTH}/64
    }}
    virtual_routes {{
        {SIXTH_ROUTE} dev eth0
    }}
}}
"
    )
}
