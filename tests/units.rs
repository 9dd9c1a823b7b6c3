//! The systemd units: nothing in them may come between a hook and the host.
//!
//! A mount namespace hides what `mount.sh` mounts; a filter of system calls or privileges is
//! inherited by every hook; a service manager that kills hooks or cleans up after a crash undoes the
//! resume.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

const UNITS: [&str; 4] =
    ["glha.service", "glha-release.service", "glha@.service", "glha-release@.service"];

/// Directives that give the service a mount namespace (systemd.exec(5)), by the beginning of their
/// names.
const MOUNT_NAMESPACE: &[&str] = &[
    "Private",
    "Protect",
    "ProcSubset",
    "ReadOnly",
    "ReadWrite",
    "Inaccessible",
    "ExecPaths",
    "NoExecPaths",
    "Bind",
    "TemporaryFileSystem",
    "Root",
    "MountFlags",
    "MountImages",
    "MountAPIVFS",
    "Extension",
    "DynamicUser",
    "LogNamespace",
    "NetworkNamespacePath",
    "IPCNamespacePath",
    "JoinsNamespaceOf",
    "LoadCredential",
    "SetCredential",
    "ImportCredential",
];

/// Directives that take something from the hooks, which inherit it.
const INHERITED: &[&str] = &[
    "NoNewPrivileges",
    "SystemCall",
    "Restrict",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "SecureBits",
    "AmbientCapabilities",
    "DevicePolicy",
    "DeviceAllow",
    "SocketBind",
    "IPAddress",
    "User",
    "Group",
];

/// Directives that let systemd do what is the daemon's own business.
const MEDDLING: &[&str] = &[
    // Would undo the resume.
    "ExecStopPost",
    "ExecStop",
    "BindsTo",
    // Removed at a stop, with the phase files in it.
    "RuntimeDirectory",
];

/// What the daemon and the hooks cannot do without.
const CAPABILITIES: &[&str] = &[
    "CAP_SYS_ADMIN",
    "CAP_SYS_RAWIO",
    "CAP_SYS_PTRACE",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_BOOT",
    "CAP_KILL",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_CHOWN",
    "CAP_FOWNER",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_IPC_LOCK",
];

#[test]
fn no_unit_comes_between_a_hook_and_the_host() {
    for name in UNITS {
        let found = breaches(&unit(name));
        assert!(found.is_empty(), "etc/{name}:\n{}", found.join("\n"));
    }
}

#[test]
fn a_crash_and_a_stop_concern_the_daemon_alone() {
    let unit = unit("glha.service");
    for (key, value) in [
        ("Type", "notify"),
        ("Restart", "always"),
        ("RestartSec", "100ms"),
        ("KillMode", "process"),
        ("OOMPolicy", "continue"),
        ("Conflicts", "keepalived.service"),
        ("OnFailure", "glha-release.service"),
        ("EnvironmentFile", "-/etc/default/glha"),
        ("ExecStart", "/usr/local/sbin/glha -n $DAEMON_ARGS"),
        // A mere signal succeeds whether the configuration is refused or not.
        ("ExecReload", "/usr/local/sbin/glha reload --pid $MAINPID"),
    ] {
        assert_eq!(values(&unit, key), [value], "{key}=");
    }
    assert_eq!(values(&unit, "TimeoutStopSec"), ["5min"], "long enough for two runs of a hook");
}

#[test]
fn the_last_resort_runs_the_command_and_waits_for_the_hooks() {
    let unit = unit("glha-release.service");
    for (key, value) in [
        ("Type", "oneshot"),
        // The configuration of the daemon, not another.
        ("EnvironmentFile", "-/etc/default/glha"),
        ("ExecStart", "/usr/local/sbin/glha release $DAEMON_ARGS"),
        ("ConditionPathExists", "!/run/glha/released"),
        ("TimeoutStartSec", "infinity"),
        ("KillMode", "process"),
        ("Before", "glha.service"),
    ] {
        assert_eq!(values(&unit, key), [value], "{key}=");
    }
}

/// What a mount needs comes up before the daemon and goes after it; so does keepalived, whose place it
/// takes.
#[test]
fn storage_is_given_back_while_its_paths_are_there() {
    const PATHS: [&str; 7] = [
        "network.target",
        "network-online.target",
        "nss-lookup.target",
        "multipathd.service",
        "iscsid.service",
        "open-iscsi.service",
        "remote-fs-pre.target",
    ];
    for name in UNITS {
        let unit = unit(name);
        let after: Vec<&str> =
            values(&unit, "After").iter().flat_map(|value| value.split_whitespace()).collect();
        for path in PATHS {
            assert!(after.contains(&path), "etc/{name}: After={path}");
        }
        assert_eq!(after.contains(&"keepalived.service"), name == "glha.service", "etc/{name}");
    }
}

/// The templates are the units, for a configuration of another name.
#[test]
fn a_second_instance_has_the_same_unit() {
    let changes = [
        ("mastership", "mastership (%i)"),
        ("left behind", "left behind (%i)"),
        ("glha-release.service", "glha-release@%i.service"),
        ("glha.service", "glha@%i.service"),
        ("/etc/default/glha", "/etc/default/glha-%i"),
        ("/run/glha/", "/run/glha/instance.%i/"),
        ("glha -n", "glha -n -f /etc/glha/%i.conf"),
        ("glha release", "glha release -f /etc/glha/%i.conf"),
    ];
    for (name, template) in
        [("glha.service", "glha@.service"), ("glha-release.service", "glha-release@.service")]
    {
        let is_shared = |(_, value): &(String, String)| value != "keepalived.service";
        let expected: Directives = unit(name)
            .into_iter()
            .filter(is_shared)
            .map(|(key, value)| {
                let change = |value: String, (from, to): &(&str, &str)| value.replace(from, to);
                (key, changes.iter().fold(value, change))
            })
            .collect();
        assert_eq!(unit(template), expected, "etc/{template} and etc/{name}");
    }
}

/// The manual says what systemd thinks of the unit.
#[test]
fn the_exposure_is_the_one_of_the_manual() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("man/glha.8")).expect("the manual");
    for name in UNITS {
        let out = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(root.join("etc").join(name))
            .output()
            .unwrap_or_else(|e| panic!("cannot run systemd-analyze ({e}): install systemd"));
        let said = String::from_utf8_lossy(&out.stdout);
        let level = said.rsplit_once(": ").and_then(|(_, rest)| rest.split_whitespace().next());
        let level = level.unwrap_or_else(|| panic!("{name}: no verdict in {said}"));
        assert!(page.contains(&format!("gives the unit {level} of 10")), "etc/{name}: {level}");
    }
}

/// systemd reads every line of them, and finds the programs that they name.
#[test]
fn systemd_has_nothing_to_say() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("units");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    for name in UNITS {
        let text =
            fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("etc").join(name));
        let text =
            text.expect("a unit").replace("/usr/local/sbin/glha", env!("CARGO_BIN_EXE_glha"));
        fs::write(folder.join(name), text).expect("a unit");
    }
    let instances = UNITS.map(|name| name.replace('@', "@two"));
    let out = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(&instances)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()))
        .current_dir(&folder)
        .output()
        .unwrap_or_else(|e| panic!("cannot run systemd-analyze ({e}): install systemd"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "systemd-analyze verify: {said}");
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn each_breach_is_found() {
    for line in [
        "PrivateTmp=yes",
        "PrivateMounts = yes",
        "ProtectSystem=strict",
        "ProtectKernelTunables=yes",
        "ReadWritePaths=/run/glha",
        "InaccessiblePaths=/boot",
        "BindReadOnlyPaths=/a",
        "RootDirectory=/x",
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "SystemCallFilter=@system-service",
        "RestrictNamespaces=yes",
        "ExecStopPost=/usr/local/sbin/glha release",
        "RuntimeDirectory=glha",
        "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW",
        "CapabilityBoundingSet=~CAP_SYS_TIME \\\n  CAP_SYS_ADMIN",
        "CapabilityBoundingSet=",
    ] {
        let text = format!("# a comment\n[Service]\nType=notify\n{line}\n");
        assert_eq!(breaches(&directives(&text)).len(), 1, "{line}");
    }
    let fine = "[Service]\n# PrivateTmp=yes\n; User=x\nCapabilityBoundingSet=~CAP_SYS_TIME\n";
    assert_eq!(breaches(&directives(fine)), Vec::<String>::new());
}

type Directives = Vec<(String, String)>;

fn unit(name: &str) -> Directives {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("etc").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    directives(&text)
}

/// All `KEY=VALUE` of a unit, in order, continued lines joined.
fn directives(text: &str) -> Directives {
    let is_comment = |line: &&str| line.starts_with('#') || line.starts_with(';');
    let lines: Vec<&str> = text.lines().filter(|line| !is_comment(line)).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let pairs = joined.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

fn values<'a>(unit: &'a Directives, key: &str) -> Vec<&'a str> {
    unit.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
}

/// Everything in a unit that must not be there.
fn breaches(unit: &Directives) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in unit {
        for (forbidden, why) in [
            (MOUNT_NAMESPACE, "makes a mount namespace"),
            (INHERITED, "is inherited by the hooks"),
            (MEDDLING, "is not systemd's business"),
        ] {
            if forbidden.iter().any(|beginning| key.starts_with(beginning)) {
                found.push(format!("{key}={value} {why}"));
            }
        }
        if key == "CapabilityBoundingSet" && !keeps_capabilities(value) {
            found.push(format!("{key}={value} takes a capability that is needed"));
        }
    }
    found
}

fn keeps_capabilities(value: &str) -> bool {
    let (list, is_taken) = match value.strip_prefix('~') {
        Some(list) => (list, true),
        None => (value, false),
    };
    let listed: Vec<&str> = list.split_whitespace().collect();
    CAPABILITIES.iter().all(|needed| listed.contains(needed) != is_taken)
}
