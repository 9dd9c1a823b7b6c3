//! Every deviation from keepalived that glha.conf(5) lists has its tests, which show what keepalived
//! does and what glha does; those that nothing else needs are here.
//!
//! Needs root and keepalived.

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lab::{Daemon, Subject};

#[path = "deviations/lives.rs"]
mod lives;
#[path = "deviations/readings.rs"]
mod readings;
#[path = "deviations/scripts.rs"]
mod scripts;
#[path = "deviations/storage.rs"]
mod storage;

/// For anything that happens at once, or within one election; the rest is for a busy machine.
const SOON: f64 = 20.0;

/// Whether the log says something of an instance.
fn said(daemon: &Daemon, name: &str, words: &str) -> bool {
    daemon.log().contains(&format!("({name}) {words}"))
}

/// What comes of it with keepalived, and with glha, both at the same time.
fn both<T: Send>(live: impl Fn(Subject) -> T + Sync) -> (T, T) {
    std::thread::scope(|scope| {
        let theirs = scope.spawn(|| live(Subject::Keepalived));
        let ours = live(Subject::Glha);
        (theirs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), ours)
    })
}

const REFUSED: &str = "readings what_would_be_another_node_does_not_start";
const CARRIED_OUT: &str = "readings what_is_understood_all_the_same";
const SCRIPTS: &str = "scripts what_becomes_of_scripts";
const ONE_NODE: &str = "lives what_one_node_bears";
const STRANGERS: &str = "lives strangers_and_other_addresses";
const RELOADS: &str = "lives what_a_reload_changes";
const FOR_EVER: &str = "lives keepalived_stays_in_fault_for_ever";
const LATE: &str = "storage of_keepalived_the_disk_comes_late_and_goes_late";

/// Words of an item of the manual, which no other item has, and its tests: the file without its
/// ending, and the function.
const DEVIATIONS: &[(&str, &[&str])] = &[
    // Language and start.
    ("An unknown block is skipped as a whole", &[ONE_NODE]),
    ("may be named by other instances", &[CARRIED_OUT]),
    ("Lines may be longer than 1024 bytes", &[CARRIED_OUT]),
    ("A keyword whose value is missing", &["verdicts the_same_values_may_be_missing"]),
    ("What has no effect here is not looked at", &[CARRIED_OUT]),
    ("Keywords of newer versions", &[CARRIED_OUT]),
    ("depend on the folder that the daemon was started in", &[RELOADS]),
    ("A name that cannot be one", &[REFUSED]),
    ("Something that is refused prevents a start", &[REFUSED]),
    ("are sent with a hop limit of 255", &["lives bfd_over_ipv6"]),
    (
        "A BFD session that a reload removes",
        &["bfd a_reload_keeps_what_goes_on", "lives bfd_over_ipv6"],
    ),
    (
        "A tracked process, file or BFD session that is not defined",
        &[REFUSED, "readings a_tracked_script_that_is_not_defined_is_left_out"],
    ),
    ("say of which family it is", &[CARRIED_OUT]),
    (
        "A route without an interface is put back",
        &[ONE_NODE, "routes what_somebody_removes_comes_back_and_a_crash_leaves_nothing_for_long"],
    ),
    ("The encapsulation of a route", &[REFUSED]),
    ("A range of ports of a rule", &[ONE_NODE, "readings a_range_of_ports_ends_where_ports_end"]),
    ("The blocks of LVS are not read", &[CARRIED_OUT]),
    ("has no opening brace, prevents a start", &[REFUSED]),
    ("would not start, -t answers 4", &[REFUSED]),
    (
        "A unicast instance may do without an interface",
        &[CARRIED_OUT, "traits unicast_without_an_interface"],
    ),
    ("beyond its range is cut to it", &[ONE_NODE]),
    ("IPv6 is always version 3", &[REFUSED]),
    ("An interface that has the name of a VMAC interface", &[REFUSED]),
    (
        "unicast_src_ip that is missing at the start",
        &[FOR_EVER, "traits unicast_without_its_source"],
    ),
    ("unicast_fault_no_peer without a peer", &[FOR_EVER, REFUSED]),
    ("An interface that is missing prevents a start and a reload", &[REFUSED, RELOADS]),
    (
        "A reload with an error or a new mistake",
        &[RELOADS, "gate a_reload_of_a_bad_file_changes_nothing"],
    ),
    ("may have decimals", &[CARRIED_OUT]),
    ("with something behind the number", &["kept processes", "kept global_settings"]),
    (
        "A value that is not UTF-8",
        &["readings bytes_that_are_no_text_are_refused_where_they_count"],
    ),
    // Scripts.
    ("Users and groups may be given by number", &[SCRIPTS, "audit users_by_number_are_named"]),
    ("A check that is missing or may not be run", &[SCRIPTS]),
    ("is failed until it has succeeded", &[SCRIPTS]),
    ("A script without #!", &[SCRIPTS]),
    (
        "A script in a folder that others may write to",
        &["readings a_script_in_a_sticky_folder_is_not_secure"],
    ),
    ("A script that was ended at its timeout", &[SCRIPTS]),
    (
        "is not run once for each advert",
        &[ONE_NODE, "traits a_lower_priority_is_told_and_a_removal_has_a_word"],
    ),
    ("A check that still runs when it is due", &[SCRIPTS]),
    (
        "Notify scripts run one after the other",
        &[SCRIPTS, "gate twenty_changes_in_two_seconds_are_all_told_in_order_and_one_at_a_time"],
    ),
    ("Notify scripts have a timeout", &[SCRIPTS]),
    ("Scripts run with umask 022", &[SCRIPTS]),
    ("child_wait_time has no effect", &[SCRIPTS]),
    // VRRP and addresses.
    (
        "may be gone for one advert interval",
        &[
            ONE_NODE,
            "traits an_interface_that_is_gone_has_one_interval_to_come_back",
            "host a_restart_of_the_network_moves_nothing",
        ],
    ),
    ("The members of a sync group of owners", &["lives a_group_of_owners_begins_together"]),
    (
        "A master answers the adverts of a worse one",
        &[ONE_NODE, "traits a_flood_of_worse_masters_is_answered_now_and_then"],
    ),
    (
        "A backup never sends a frame with the virtual MAC address",
        &["vmac everything_is_as_with_keepalived", "vmac keepalived_glha", "vmac glha_keepalived"],
    ),
    (
        "are put back at the end, whatever they were",
        &["lives what_is_left_of_virtual_macs", "vmac everything_is_as_with_keepalived"],
    ),
    (
        "A VMAC interface that is deleted by hand",
        &["lives what_is_left_of_virtual_macs", "vmac whatever_happens_to_the_interfaces"],
    ),
    (
        "also keeps the instance's own VMAC interface known",
        &["core_vmac one_address_per_interface_that_adverts_do_not_keep_known"],
    ),
    ("An advert whose addresses are not ours is used", &[STRANGERS]),
    ("A priority 0 counts only if it comes from the master", &[STRANGERS]),
    (
        "comes between the regular ones",
        &[
            "lives the_rhythm_of_adverts",
            "stories an_answer_to_a_worse_master_does_not_move_the_adverts",
        ],
    ),
    (
        "A virtual address removed by hand is put back",
        &[ONE_NODE, "gate an_address_removed_by_hand_comes_back_without_a_failover"],
    ),
    ("An address with peer is taken off again", &[ONE_NODE, "traits addresses_have_every_option"]),
    ("Another host that uses a virtual address", &[ONE_NODE]),
    ("each burst has the number of announcements", &[ONE_NODE]),
    (
        "Processes are not heard of from the kernel's process connector",
        &[ONE_NODE, "track a_process_that_is_killed_is_a_fault_until_it_is_back"],
    ),
    // Storage.
    (
        "It announces its addresses only after the hook",
        &[LATE, "gate the_address_waits_for_a_slow_mount_and_adverts_do_not"],
    ),
    (
        "Its priority 0 is sent only after the storage is released",
        &[LATE, "gate a_stop_says_priority_0_only_after_the_release"],
    ),
    (
        "instead of taking over from any worse master",
        &[
            "interop preemption",
            "stories a_better_priority_alone_moves_no_storage",
            "stories a_weakened_master_hands_over_with_an_acknowledgement",
        ],
    ),
    (
        "It goes on as master after a crash of the daemon",
        &[LATE, "faults killed_and_restarted_daemon_goes_on_as_if_nothing_had_happened"],
    ),
    (
        "After three intervals without an advert of its own",
        &[
            LATE,
            "faults frozen_daemon_goes_on_with_proof",
            "faults frozen_daemon_releases_without_proof",
        ],
    ),
    (
        "It backs off while it takes the storage",
        &["interop equal_priorities_together", "stories c1_of_two_claims_one_persists"],
    ),
    (
        "follows a priority 0 that proves a release at once",
        &["interop stop", "stories a_stop_tells_the_peer_only_after_the_release"],
    ),
    (
        "so that a disk that fails does not go to and fro",
        &["gate a_failed_mount_is_released_held_down_in_silence_and_the_peer_takes_over"],
    ),
    (
        "come back when somebody takes them away",
        &[
            "accept tables_that_are_taken_away_come_back",
            "accept each_daemon_has_tables_of_its_own",
        ],
    ),
];

/// The items of the sections on deviations, as they are read: without macros and on one line.
fn items() -> Vec<String> {
    let page = fs::read_to_string(root().join("man/glha.conf.5")).expect("the manual");
    let (_, caveats) = page.split_once("\n.Sh CAVEATS\n").expect("its section");
    let caveats = caveats.split("\n.Sh ").next().unwrap_or_default();
    let items = caveats.split("\n.It\n").skip(1);
    items.map(|item| plain(item.split("\n.El").next().unwrap_or_default())).collect()
}

fn plain(item: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for line in item.lines() {
        let Some(of_macro) = line.strip_prefix('.') else {
            words.extend(line.split_whitespace().map(str::to_owned));
            continue;
        };
        let mut parts = of_macro.split_whitespace();
        let name = parts.next().unwrap_or_default();
        for part in parts {
            match part {
                "." | "," | ":" | ";" => words.last_mut().iter_mut().for_each(|w| w.push_str(part)),
                part if name == "Fl" => words.push(format!("-{part}")),
                part => words.push(part.replace("\\&", "")),
            }
        }
    }
    words.join(" ")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Functions of a test's file or folder, and of those that belong to it.
fn functions(file: &str) -> BTreeSet<String> {
    let tests = root().join("tests");
    let mine = ["lives", "readings", "scripts", "storage"].contains(&file);
    let folder = if mine { tests.join("deviations") } else { tests.clone() };
    let mut texts = vec![fs::read_to_string(folder.join(format!("{file}.rs")))];
    if let Ok(entries) = fs::read_dir(tests.join(file)) {
        texts.extend(entries.flatten().map(|entry| fs::read_to_string(entry.path())));
    }
    let texts: String = texts.into_iter().map(|text| text.expect("a test's text")).collect();
    let name = |line: &str| {
        let rest = line.trim_start().trim_start_matches("pub ").strip_prefix("fn ")?;
        Some(rest.split(['(', '<']).next()?.to_owned())
    };
    texts.lines().filter_map(name).collect()
}

#[test]
fn every_deviation_of_the_manual_has_its_tests() {
    let items = items();
    let mut wrong = Vec::new();
    for item in &items {
        let count = DEVIATIONS.iter().filter(|(words, _)| item.contains(words)).count();
        if count != 1 {
            wrong.push(format!("{count} lines of the table for the item: {item}"));
        }
    }
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (words, tests) in DEVIATIONS {
        let count = items.iter().filter(|item| item.contains(words)).count();
        if count != 1 || tests.is_empty() {
            wrong.push(format!("{count} items, {} tests for `{words}`", tests.len()));
        }
        for test in *tests {
            let (file, name) = test.split_once(' ').expect("file and function");
            if !known.entry(file).or_insert_with(|| functions(file)).contains(name) {
                wrong.push(format!("no test {test} for `{words}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(items.len() > 50, "only {} items: does this test look aside?", items.len());
}
