//! The layouts, against what keepalived 2.2.7 wrote under the same configuration.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::*;
use crate::conf::{self, Context, Files};
use crate::core::event::{Event, HookEnd, LinkState};
use crate::core::spec::CheckId;

const CONF: &str = "
global_defs {
  router_id n1
  enable_script_security
  script_user root
}
vrrp_script chk {
  script \"/usr/bin/true\"
  interval 1
  weight -20
}
vrrp_instance VI_1 {
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority 100
  advert_int 1
  authentication {
    auth_type PASS
    auth_pass 1111
  }
  track_script {
    chk
  }
  virtual_ipaddress {
    172.16.51.70/24
    172.16.51.71 dev eth0 label eth0:1
  }
  virtual_ipaddress_excluded {
    172.16.51.90/32
  }
  notify_master /usr/bin/true
}
";

/// keepalived's lines of the instance as master, but for Flags, the numbers of faults, the
/// descriptors; the password is masked.
const DATA: &str = " VRRP Instance = VI_1
   VRRP Version = 2
   State = MASTER
   Wantstate = MASTER
   Phase = master
   Reason = no_master
   Detail = DETAIL
   Storage = none
   Last transition = 1795398833.522303 (LOCAL.522303 YEAR)
   Read timeout = 1795398834.522303 (LOCAL.522303 YEAR)
   Master down timer = 3609375 usecs
   Interface = eth0
   Using src_ip = 172.16.51.11
   Multicast address 224.0.0.18
   Gratuitous ARP delay = 5
   Gratuitous ARP repeat = 5
   Gratuitous ARP refresh = 0
   Gratuitous ARP refresh repeat = 1
   Gratuitous ARP lower priority delay = 5
   Gratuitous ARP lower priority repeat = 5
   Down timer adverts = 3
   Send advert after receive lower priority advert = true
   Send advert after receive higher priority advert = false
   Virtual Router ID = 51
   Priority = 100
   Effective priority = 100
   Total priority = 100
   Advert interval = 1 sec
   Accept = enabled
   Preempt = enabled
   Promote_secondaries = disabled
   Authentication type = SIMPLE_PASSWORD
   Password = ********
   Virtual IP (2):
     172.16.51.70/24 dev eth0 scope global set
     172.16.51.71 dev eth0 scope global label eth0:1 set
   Virtual IP Excluded :
     172.16.51.90 dev eth0 scope global set
   Tracked scripts :
     chk weight -20
   Using smtp notification = no
   Notify deleted = Fault
   Master state transition script = '/usr/bin/true', uid:gid 0:0
   Notify priority changes = false
------< VRRP Scripts >------
 VRRP Script = chk
";

const JSON: &str = r#"[{"data":{"iname":"VI_1","dont_track_primary":0,"skip_check_adv_addr":0,"strict_mode":0,"vmac_ifname":"","ifp_ifname":"eth0","master_priority":0,"last_transition":1795398833.522303,"garp_delay":5,"garp_refresh":0,"garp_rep":5,"garp_refresh_rep":1,"garp_lower_prio_delay":5,"garp_lower_prio_rep":5,"lower_prio_no_advert":0,"higher_prio_send_advert":0,"vrid":51,"base_priority":100,"effective_priority":100,"vipset":true,"promote_secondaries":false,"adver_int":1,"master_adver_int":1,"accept":1,"nopreempt":false,"preempt_delay":0,"state":2,"wantstate":2,"version":2,"smtp_alert":false,"notify_deleted":false,"script_master":"'/usr/bin/true'","vips":["172.16.51.70/24 dev eth0 scope global set","172.16.51.71 dev eth0 scope global label eth0:1 set"],"evips":["172.16.51.90 dev eth0 scope global set"],"track_script":["'/usr/bin/true'"],"auth_type":1,"auth_data":"********"},"stats":{"advert_rcvd":0,"advert_sent":1,"become_master":1,"release_master":0,"packet_len_err":0,"advert_interval_err":0,"ip_ttl_err":0,"invalid_type_rcvd":0,"addr_list_err":0,"invalid_authtype":0,"authtype_mismatch":0,"auth_failure":0,"pri_zero_rcvd":0,"pri_zero_sent":0}}]
"#;

const STATS: &str = "VRRP Instance: VI_1
  Advertisements:
    Received: 0
    Sent: 1
  Became master: 1
  Released master: 0
  Packet Errors:
    Length: 0
    TTL: 0
    Invalid Type: 0
    Advertisement Interval: 0
    Address List: 0
  Authentication Errors:
    Invalid Type: 0
    Type Mismatch: 0
    Failure: 0
  Priority Zero:
    Received: 0
    Sent: 0
";

/// The moment of the transition in the golden texts.
const MASTER_SINCE: Duration = Duration::from_micros(1_795_398_833_522_303);

fn config() -> Config {
    config_of(CONF)
}

fn config_of(text: &str) -> Config {
    let mut read = |_: &Path| Ok(text.as_bytes().to_vec());
    let mut list = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let mut files = Files { read: &mut read, list: &mut list };
    let context = Context { environment: BTreeMap::new(), ..Context::default() };
    let path = Path::new("/etc/keepalived/keepalived.conf");
    let mut config = conf::load(path, &mut files, &context).config;
    let root = conf::Rights::Of(conf::Ids { uid: 0, gid: 0 });
    config.scripts_mut().for_each(|script| script.rights = root.clone());
    config
}

/// A master, two seconds after it became one by the silence of all others.
fn master(config: &Config) -> (Core, Clocks) {
    let mut core = Core::new(config.spec.clone(), Duration::ZERO, Vec::new(), Time::ZERO);
    let own = ("172.16.51.11".parse().expect("an address"), 24);
    let state = LinkState { present: true, up: true, addresses: vec![own] };
    core.handle(Event::Link { link: LinkId(0), state }, Time::ZERO);
    core.handle(Event::CheckEnded { check: CheckId(0), end: HookEnd::Exited(0) }, Time::ZERO);
    let at = core.deadline().expect("the master down timer").max(Time::from_millis(3610));
    core.handle(Event::Tick, at);
    let clocks =
        Clocks { now: at + Duration::from_secs(2), wall: MASTER_SINCE + Duration::from_secs(2) };
    (core, clocks)
}

fn view<'a>(core: &'a Core, config: &'a Config, clocks: Clocks) -> View<'a> {
    View {
        core,
        config,
        is_set: vec![vec![true; 3]],
        statics_set: Vec::new(),
        are_up: BTreeSet::new(),
        interfaces: Vec::new(),
        clocks,
    }
}

#[test]
fn each_file_is_as_keepalived_s() {
    let config = config();
    let (core, clocks) = master(&config);
    let view = view(&core, &config, clocks);
    assert_eq!(Dump::Stats.text(&view), STATS);
    assert_eq!(Dump::Json.text(&view), JSON);
    let local = |seconds| {
        let text = crate::shell::host::localtime::LocalTime::at(seconds).to_string();
        let (time, year) = text.rsplit_once(' ').expect("a year");
        format!("({time}.522303 {year})")
    };
    let instance = &core.instances().as_slice()[0];
    let expected = DATA
        .replacen("(LOCAL.522303 YEAR)", &local(1_795_398_833), 1)
        .replacen("(LOCAL.522303 YEAR)", &local(1_795_398_834), 1)
        .replace("no_master", instance.reason.word())
        .replace("DETAIL", &instance.detail);
    let data = Dump::Data.text(&view);
    let topology = data.split_once("------< VRRP Topology >------\n").expect("a topology").1;
    let end = topology.find("   Command = ").expect("a script");
    assert_eq!(&topology[..end], expected);
    assert!(!data.contains("1111"), "the password: {data}");
}

/// keepalived's block of the script, once it has succeeded and while it runs again.
const SCRIPT: &str = " VRRP Script = chk
   Command = '/usr/bin/true'
   Interval = 1 sec
   Timeout = 0 sec
   Weight = -20
   Rise = 1
   Fall = 1
   Result = 1
   Insecure = no
   Init state = unknown
   Status = GOOD
   Script uid:gid = 0:0
   VRRP instances :
   Tracking instances :
     VI_1, weight -20
   State = running
";

#[test]
fn a_script_has_all_of_keepalived_s_labels() {
    let config = config();
    let (core, clocks) = master(&config);
    let data = Dump::Data.text(&view(&core, &config, clocks));
    let scripts = data.split_once("------< VRRP Scripts >------\n").expect("scripts").1;
    assert_eq!(scripts.split("------<").next(), Some(SCRIPT));
    let config = config_of(&CONF.replace("interval 1", "interval 1\ntimeout 4\nrise 3\nfall 4"));
    let (mut core, clocks) = master(&config);
    let mut result = |end: Option<i32>| {
        if let Some(status) = end {
            let end = HookEnd::Exited(status);
            core.handle(Event::CheckEnded { check: CheckId(0), end }, clocks.now);
        }
        let data = Dump::Data.text(&view(&core, &config, clocks));
        assert!(data.contains("   Timeout = 4 sec\n"), "{data}");
        let line = data.lines().find_map(|line| line.strip_prefix("   Result = "));
        line.expect("a result").to_owned()
    };
    let results = [None, Some(1), Some(1), Some(0), Some(1), Some(1), Some(1), Some(1), Some(0)];
    assert_eq!(results.map(&mut result), ["6", "5", "4", "6", "5", "4", "3", "0", "1"]);
}

#[test]
fn an_interval_of_version_3_is_in_milliseconds() {
    let conf = CONF.replace("advert_int 1", "version 3\nadvert_int 0.25");
    let (core, clocks) = master(&config_of(&conf));
    let config = config_of(&conf);
    let data = Dump::Data.text(&view(&core, &config, clocks));
    assert!(data.contains("   Advert interval = 250 milli-sec\n"), "{data}");
    assert!(!data.contains("Authentication type"), "{data}");
}

#[test]
fn what_is_not_on_its_interface_is_not_set() {
    let config = config();
    let (core, clocks) = master(&config);
    let mut view = view(&core, &config, clocks);
    view.is_set = vec![vec![true, false, true]];
    let json = Dump::Json.text(&view);
    assert!(json.contains("scope global label eth0:1\""), "{json}");
    assert!(json.contains("172.16.51.90 dev eth0 scope global set\""), "{json}");
}

#[test]
fn the_folder_is_the_environment_s_if_it_names_one() {
    let at = |path: &str| folder(Some(path.into()));
    assert_eq!(folder(None), Path::new("/tmp"));
    assert_eq!(at("/var/tmp"), Path::new("/var/tmp"));
    assert_eq!(at(""), Path::new("/tmp"));
    assert_eq!(at("here"), Path::new("/tmp"));
}

#[test]
fn wall_times_lie_before_and_after_now() {
    let clocks = Clocks { now: Time::from_millis(5000), wall: Duration::from_secs(1000) };
    assert_eq!(clocks.wall_at(Time::from_millis(4500)), Duration::from_millis(999_500));
    assert_eq!(clocks.wall_at(Time::from_millis(7000)), Duration::from_secs(1002));
    assert_eq!(clocks.wall_at(clocks.now), clocks.wall);
}

#[test]
fn cleared_counters_begin_anew() {
    let config = config();
    let (mut core, clocks) = master(&config);
    core.clear_stats();
    let text = Dump::StatsClear.text(&view(&core, &config, clocks));
    assert_eq!(text, STATS.replace(": 1\n", ": 0\n"));
}

#[test]
fn a_virtual_mac_address_is_shown_as_by_keepalived() {
    let vmac = |words: &str| {
        let config =
            config_of(&CONF.replace("interface eth0", &format!("interface eth0\n{words}")));
        let core = Core::new(config.spec.clone(), Duration::ZERO, Vec::new(), Time::ZERO);
        let clocks = Clocks { now: Time::ZERO, wall: MASTER_SINCE };
        let up = "vrrp.51".to_owned();
        let view = View { are_up: BTreeSet::from([&up]), ..view(&core, &config, clocks) };
        let lines: Vec<String> = data::text(&view)
            .lines()
            .filter(|line| {
                line.contains("VMAC") || line.contains("MAC =") || line.contains("vmac on")
            })
            .map(str::to_owned)
            .collect();
        let vip = json::text(&view);
        (lines, vip)
    };
    let (lines, json) = vmac("use_vmac");
    let expected = [
        "   Use VMAC, i/f name vrrp.51, is_up = true, xmit_base = false",
        "   Interface = vrrp.51, vmac on eth0",
    ];
    assert_eq!(lines, expected);
    assert!(json.contains(r#""vmac_ifname":"vrrp.51","ifp_ifname":"vrrp.51""#), "{json}");
    assert!(json.contains("172.16.51.70/24 dev vrrp.51@eth0 scope global set"), "{json}");
    let (lines, _) = vmac("use_vmac own 02:00:00:00:07:07\nvmac_xmit_base\nuse_vmac_addr");
    let expected = [
        "   Use VMAC, i/f name own, is_up = false, xmit_base = true",
        "     MAC = 02:00:00:00:07:07",
        "   Use VMAC for VIPs on other interfaces",
        "   Interface = own, vmac on eth0, xmit base i/f",
    ];
    assert_eq!(lines, expected);
}
