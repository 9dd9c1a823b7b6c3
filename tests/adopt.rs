//! `glha adopt`: what becomes of configurations and scripts as people have them, and of what nobody should
//! have.
//!
//! A folder of `data/adopt` is `/etc/keepalived` of a node, and its `report` what is said of it.
//! `BLESS=1 cargo test --test adopt` writes the reports anew.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use glha::adopt::{Disk, Facts, New, Plan, Reach, plan};
use glha::conf::{self, Context, Files};

mod adopt_support;

use adopt_support::{Folder, glha, said};

const ETC: &str = "/etc/keepalived";

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/adopt")
}

/// Every folder with a configuration.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(data()).expect("the cases");
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    all.retain(|path| path.join("keepalived.conf").exists());
    all.sort();
    assert!(all.len() > 10, "the cases are found");
    all
}

/// What a device of the cases can do, by its name.
fn disk(device: &str) -> Disk {
    let seen =
        |kind: &str, mmp, reserves| Disk::Seen(Facts { kind: Some(kind.into()), mmp, reserves });
    match device {
        "/dev/mapper/mmp" => seen("ext4", Some(25), false),
        "/dev/mapper/plain" => seen("ext4", None, false),
        "/dev/mapper/pr" => seen("xfs", None, true),
        "/dev/mapper/xfs" => seen("xfs", None, false),
        _ => Disk::Unseen,
    }
}

/// A plan for files that are only texts: `read` has what stands at a path.
fn planned(read: &dyn Fn(&Path) -> Option<Vec<u8>>, fstab: &str) -> Result<Plan, String> {
    let path = Path::new(ETC).join("keepalived.conf");
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let mut of_conf = |path: &Path| read(path).ok_or_else(missing);
    let mut list = |_: &Path| Ok(Vec::new());
    let mut files = Files { read: &mut of_conf, list: &mut list };
    let loaded = conf::load(&path, &mut files, &Context::default());
    let mut of_script = |path: &Path| read(path).ok_or_else(|| "there is no such file".to_owned());
    let mut reach = Reach { read: &mut of_script, disk: &mut disk, fstab: fstab.to_owned() };
    plan(&path, &loaded, &mut reach)
}

/// What stands at a path of a case; programs are no scripts.
fn at(case: &Path, path: &Path) -> Option<Vec<u8>> {
    if path.starts_with("/bin") || path.starts_with("/usr/bin") {
        return Some(b"\x7fELF\0".to_vec());
    }
    fs::read(case.join(path.strip_prefix(ETC).ok()?)).ok()
}

fn plan_of(case: &Path) -> Plan {
    let fstab = fs::read_to_string(case.join("fstab")).unwrap_or_default();
    planned(&|path| at(case, path), &fstab)
        .unwrap_or_else(|why| panic!("{}: {why}", case.display()))
}

/// The scripts as they were printed become those that the demo runs.
#[test]
fn the_demo_runs_what_becomes_of_its_article() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    for node in ["master", "backup"] {
        let name = |path: &Path| match path.file_name()?.to_str()?.trim_end_matches(".glha") {
            "check_nginx.sh" => Some("check_nginx.sh.both".to_owned()),
            name => Some(format!("{name}.{node}")),
        };
        let plan = planned(&|path| fs::read(demo.join("article").join(name(path)?)).ok(), "");
        let plan = plan.expect("a plan");
        // It has taken out what was commented out, too.
        let lines = |text: &str| -> Vec<String> {
            let of_script = |line: &&str| !line.trim_start().starts_with("#umount");
            text.lines().filter(of_script).map(str::to_owned).collect()
        };
        let scripts: Vec<&New> = plan.files.iter().filter(|new| is_script(new)).collect();
        assert_eq!(scripts.len(), 2, "{}", plan.report());
        for new in scripts {
            let path = demo.join("migrated").join(name(&new.path).expect("a name"));
            let migrated = fs::read_to_string(&path).expect("a script of the demo");
            assert_eq!(lines(&new.text), lines(&migrated), "{}", path.display());
        }
        assert!(plan.left.iter().all(|told| told.why.starts_with("GUARD")), "{}", plan.report());
    }
}

fn is_script(new: &New) -> bool {
    new.like
        .as_ref()
        .is_some_and(|like| !like.ends_with("keepalived.conf") && !like.ends_with("instance.conf"))
}

#[test]
fn each_case_is_told_what_its_report_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let report = plan_of(&case).report();
        let file = case.join("report");
        if fs::read_to_string(&file).ok().as_ref() == Some(&report) {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, report).expect("the report");
        } else {
            wrong.push(format!("{}:\n{report}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "BLESS=1 writes these:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_left_of_a_script_is_a_script_in_which_nothing_more_goes() {
    for case in cases() {
        let plan = plan_of(&case);
        for new in plan.files.iter().filter(|new| is_script(new)) {
            for shell in ["bash", "busybox"] {
                let mut command = Command::new(shell);
                if shell == "busybox" {
                    // The other shell that people have; it knows no arrays, and no case has one.
                    command.arg("sh");
                }
                let out = piped(command.arg("-n"), &new.bytes);
                assert!(out.status.success(), "{}: {shell}: {}", new.path.display(), said(&out));
            }
        }
        let changed = |path: &Path| {
            let new =
                plan.files.iter().find(|new| new.like.as_deref() == Some(path) && is_script(new));
            new.map(|new| new.bytes.clone()).or_else(|| {
                // The new texts name new paths.
                let old = path.to_str()?.strip_suffix(".glha").unwrap_or(path.to_str()?);
                let new = plan.files.iter().find(|new| new.like.as_deref() == Some(Path::new(old)));
                new.map(|new| new.bytes.clone()).or_else(|| at(&case, Path::new(old)))
            })
        };
        let again = planned(&changed, "").expect("a plan");
        let more: Vec<&Path> = again.files.iter().map(|new| new.path.as_path()).collect();
        assert!(more.is_empty(), "{}: {more:?}\n{}", case.display(), again.report());
    }
}

/// Whatever is about storage is taken out, or named.
#[test]
fn no_mount_stays_in_silence() {
    for case in cases() {
        let plan = plan_of(&case);
        let named: BTreeSet<(&Path, &str)> =
            plan.left.iter().map(|told| (told.path.as_path(), told.text.as_str())).collect();
        for entry in fs::read_dir(&case).expect("a case") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|end| end != "sh") {
                continue;
            }
            let own = Path::new(ETC).join(path.file_name().expect("a name"));
            let new = plan.files.iter().find(|new| new.like.as_ref() == Some(&own));
            let text =
                new.map_or_else(|| fs::read(&path).expect("a script"), |new| new.bytes.clone());
            for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
                let is_mount =
                    line.split_whitespace().any(|word| matches!(word, "mount" | "umount"));
                let is_talk = line.starts_with(['#', '0']) || line.starts_with("echo ");
                let is_deep = own.ends_with("deeper.sh");
                assert!(
                    !is_mount || is_talk || is_deep || named.contains(&(own.as_path(), line)),
                    "{}: {line}\n{}",
                    case.display(),
                    plan.report()
                );
            }
        }
    }
}

#[test]
fn texts_that_are_not_utf8_keep_their_bytes() {
    let plan = plan_of(&data().join("bytes"));
    let up = plan.files.iter().find(|new| new.path.ends_with("up.sh.glha")).expect("a script");
    let old = fs::read(data().join("bytes/up.sh")).expect("a script");
    let gone = b"mount /dev/mapper/mmp /srv/data\n";
    let kept = old.strip_suffix(gone).expect("it ends so");
    assert_eq!(up.bytes, kept);
}

/// What others wrote moves no cursor, and no password goes to whoever is shown the report.
#[test]
fn a_report_shows_neither_passwords_nor_what_terminals_obey() {
    let conf = format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n authentication {{\n auth_type PASS\n \
         auth_pass tiger\n }}\n notify {ETC}/n.sh\n virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n"
    );
    let script = "mount /dev/mapper/mmp /b\necho \x1b[31m\u{202e}\nmount $X /c # \u{202e}\x07\n";
    let read = |path: &Path| match path.file_name()?.to_str()? {
        "keepalived.conf" => Some(conf.clone().into_bytes()),
        "n.sh" => Some(script.as_bytes().to_vec()),
        _ => None,
    };
    let plan = planned(&read, "").expect("a plan");
    let report = plan.report();
    assert!(report.contains("+ notify /etc/keepalived/n.sh.glha"), "{report}");
    assert!(
        report.contains("\n  auth_pass (not shown)\n") && !report.contains("tiger"),
        "{report}"
    );
    assert!(!report.contains(['\x1b', '\x07', '\u{202e}']), "{report:?}");
    assert!(report.contains("echo \\u{1b}[31m\\u{202e}"), "{report}");
    // The file itself has all of it.
    let new = plan.files.iter().find(|new| new.path.ends_with("keepalived.conf.glha"));
    assert!(new.is_some_and(|new| new.text.contains("auth_pass tiger")));
}

/// The shell itself says what is run before and after, with programs that only write down how they were
/// called: apart from what mount.sh does now, it is the same.
#[test]
fn the_rest_of_a_script_does_what_it_did() {
    let folder = Folder::new("adopt-runs");
    let programs = "mount umount systemctl service fuser fsck.ext4 logger drbdadm \
                    docker chown chmod mountpoint sleep sudo timeout";
    for program in programs.split(' ') {
        folder.script(
            &format!("bin/{program}"),
            &format!(
                "#!/bin/sh\necho \"{program} $*\" >>{0}/calls\n[ {program} != mountpoint ]\n",
                folder.path("").display()
            ),
        );
    }
    let gone = [
        "mount ",
        "umount ",
        "fuser ",
        "fsck.ext4 ",
        "chown app",
        "chown www-data /srv",
        "chmod 0750",
        "timeout",
        "sudo",
        // It asks whether there is something to mount.
        "mountpoint ",
    ];
    for (case, script, words, services) in [
        ("by-variable", "states.sh", &["INSTANCE", "VI_1", "MASTER", "100"][..], "app"),
        ("by-variable", "states.sh", &["INSTANCE", "VI_1", "BACKUP", "100"], "app"),
        ("by-variable", "states.sh", &["INSTANCE", "VI_1", "STOP", "100"], "app"),
        ("by-argument", "state.sh", &["master", "/dev/mapper/plain"], "postgresql"),
        ("by-argument", "state.sh", &["stop", "/dev/mapper/plain"], "postgresql"),
        ("retries", "down.sh", &[], "web"),
        ("parts", "extra.sh", &["/srv/data", "start"], "-"),
        ("relative", "down.sh", &[], "-"),
    ] {
        let run = |bytes: &[u8]| {
            folder.script("run.sh", &String::from_utf8_lossy(bytes));
            let path = format!("{}:/usr/bin:/bin", folder.path("bin").display());
            let out = Command::new("bash")
                .arg(folder.path("run.sh"))
                .args(words)
                .env("PATH", path)
                .output()
                .expect("bash");
            let calls = fs::read_to_string(folder.path("calls")).unwrap_or_default();
            let _ = fs::remove_file(folder.path("calls"));
            let mut calls: Vec<String> = calls.lines().map(str::to_owned).collect();
            calls.retain(|call| {
                let is_gone = gone.iter().any(|begin| call.starts_with(begin));
                let is_of_service = call.starts_with("systemctl ") && call.contains(services);
                !(is_gone || is_of_service)
            });
            (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned(), calls)
        };
        let plan = plan_of(&data().join(case));
        let name = format!("{script}.glha");
        let new = plan.files.iter().find(|new| new.path.ends_with(&name)).expect(case);
        let before = run(&fs::read(data().join(case).join(script)).expect("a script"));
        let after = run(&new.bytes);
        // What was said on the way to a mount that took a while is not said any more.
        assert_eq!(before.0, after.0, "{case} {words:?}");
        assert_eq!(before.1, after.1, "{case} {words:?}");
        let is_wait = |call: &String| call.starts_with("sleep");
        let kept = |calls: &[String]| -> Vec<String> {
            calls.iter().filter(|call| !is_wait(call)).cloned().collect()
        };
        assert_eq!(kept(&before.2), kept(&after.2), "{case} {words:?}");
    }
}

fn piped(command: &mut Command, input: &[u8]) -> Output {
    use std::io::Write as _;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}: tests/means.sh installs it"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("its output")
}

// --- the command

/// A folder with the files of a case, whose paths lead into it.
fn installed(name: &str, case: &str) -> Folder {
    let folder = Folder::new(name);
    for entry in fs::read_dir(data().join(case)).expect("a case") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let text = fs::read_to_string(&path).expect("text");
        let text = text.replace(ETC, &folder.path("").display().to_string());
        if name.ends_with(".sh") {
            folder.script(&name, &text);
        } else if name != "report" {
            fs::write(folder.path(&name), text).expect("a file");
        }
    }
    folder
}

fn conf_of(folder: &Folder) -> String {
    folder.path("keepalived.conf").display().to_string()
}

fn names(folder: &Folder) -> BTreeSet<String> {
    let entries = fs::read_dir(folder.path("")).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_pair_of_two_nodes_would_start_and_survives_its_rehearsal() {
    let nodes =
        [installed("adopt-first", "article-first"), installed("adopt-second", "article-second")];
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
    let mut confs = Vec::new();
    for node in &nodes {
        let out = glha(&["adopt", "--write", &conf_of(node)]);
        assert_eq!(out.status.code(), Some(1), "the disk is not here: {}", said(&out));
        let conf = node.path("glha.conf");
        // As in a checkout the hooks are somewhere else.
        let text = fs::read_to_string(&conf).expect("the configuration");
        let text = text.replace("VI_1 {\n", &format!("VI_1 {{\n    dir {}\n", hooks.display()));
        fs::write(&conf, text).expect("the configuration");
        let out = glha(&["-t", "-f", &conf.display().to_string()]);
        assert!(said(&out).ends_with("would start\n"), "{}", said(&out));
        assert!(!said(&out).contains(": error: "), "{}", said(&out));
        for word in ["mounts", "unmounts", "stops keepalived"] {
            let is_of_scripts = |line: &&str| line.contains(".sh.glha:") && line.contains(word);
            assert_eq!(said(&out).lines().find(is_of_scripts), None);
        }
        confs.push(conf.display().to_string());
    }
    let out = glha(&["rehearse", &confs[0], &confs[1]]);
    assert!(matches!(out.status.code(), Some(0 | 1)), "{}", said(&out));
    let told = said(&out);
    assert!(told.contains("runs mount.sh acquire VI_1"), "{told}");
    assert!(told.contains("runs notify.sh.glha INSTANCE VI_1 MASTER"), "{told}");
    for scene in told.lines().filter(|line| line.starts_with("  => ")) {
        assert!(
            scene.contains("service away for") || scene.contains("never away"),
            "{scene}\n{told}"
        );
    }
}

#[test]
fn what_is_written_stands_beside_and_goes_again() {
    let folder = installed("adopt-write", "by-variable");
    let conf = conf_of(&folder);
    let before = names(&folder);
    let text = fs::read_to_string(folder.path("states.sh")).expect("a script");

    let out = glha(&["adopt", &conf]);
    assert_eq!(names(&folder), before, "nothing is written without being asked for");
    assert!(said(&out).contains("Nothing was written"), "{}", said(&out));

    let out = glha(&["adopt", "--write", &conf]);
    let written = ["glha.conf", "glha-adopt.manifest", "keepalived.conf.glha", "states.sh.glha"];
    let all: BTreeSet<String> = before.iter().cloned().chain(written.map(str::to_owned)).collect();
    assert_eq!(names(&folder), all, "{}", said(&out));
    assert_eq!(fs::read_to_string(folder.path("states.sh")).expect("a script"), text);
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(folder.path(name)).expect("a file").permissions().mode() & 0o777
    };
    assert_eq!((mode("states.sh.glha"), mode("glha.conf")), (0o755, 0o644));
    let sums = Command::new("sha256sum").arg("-c").arg(folder.path("glha-adopt.manifest")).output();
    assert!(sums.expect("sha256sum").status.success(), "the list is one of sha256sum");

    // Again it is the same, and so allowed; what differs is never overwritten.
    assert_ne!(glha(&["adopt", "--write", &conf]).status.code(), Some(2));
    fs::write(folder.path("states.sh.glha"), "#!/bin/sh\n# mine\n").expect("a script");
    let out = glha(&["adopt", "--write", &conf]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        said(&out).contains("states.sh.glha: something else is there already"),
        "{}",
        said(&out)
    );

    let out = glha(&["adopt", "--undo", &conf]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("states.sh.glha: it was edited since"), "{}", said(&out));
    let mut kept = before.clone();
    kept.extend(["glha-adopt.manifest".to_owned(), "states.sh.glha".to_owned()]);
    assert_eq!(names(&folder), kept);
    fs::remove_file(folder.path("states.sh.glha")).expect("a file");
    assert_eq!(glha(&["adopt", "--undo", &conf]).status.code(), Some(0));
    assert_eq!(names(&folder), before);
    let out = glha(&["adopt", "--undo", &conf]);
    assert_eq!(out.status.code(), Some(2), "there is nothing to undo");
}

/// What cannot be written as a whole is not written at all, and a link is no place to write to.
#[test]
fn all_is_written_or_nothing() {
    let folder = installed("adopt-link", "by-variable");
    let target = folder.path("elsewhere");
    std::os::unix::fs::symlink(&target, folder.path("states.sh.glha")).expect("a link");
    let before = names(&folder);
    let out = glha(&["adopt", "--write", &conf_of(&folder)]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert_eq!(names(&folder), before);
    assert!(!target.exists());
    // A list that leads elsewhere is none.
    let victim = folder.path("victim");
    fs::write(&victim, "").expect("a file");
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let list = format!("{empty}  {}\n", victim.display());
    fs::write(folder.path("glha-adopt.manifest"), list).expect("a list");
    assert_eq!(glha(&["adopt", "--undo", &conf_of(&folder)]).status.code(), Some(2));
    assert!(victim.exists());
}

#[test]
fn the_exit_status_says_what_is_left() {
    let folder = Folder::new("adopt-status");
    let status = |words: &[&str]| {
        let out = glha(&[&["adopt"], words].concat());
        (out.status.code(), said(&out))
    };
    let missing = folder.path("none.conf").display().to_string();
    let (code, text) = status(&[&missing]);
    assert_eq!(code, Some(2));
    assert!(text.contains("No such file"), "{text}");
    for words in [&["--write", "--undo"][..], &["--what"], &["a", "b"]] {
        assert_eq!(status(words).0, Some(2), "{words:?}");
    }
    let (code, text) = status(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("--undo") && text.contains("2 wrong use"), "{text}");
    let folder = installed("adopt-drbd", "retries");
    let (code, text) = status(&[&conf_of(&folder)]);
    assert_eq!(code, Some(0), "all of it is understood: {text}");
    let folder = installed("adopt-odd", "odd");
    assert_eq!(status(&[&conf_of(&folder)]).0, Some(1));
    // What has a mount hook is not keepalived's.
    let own = folder.path("own.conf");
    fs::write(&own, "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1\n }\n}\nhooks V {\n mount\n}\n").expect("a file");
    let (code, text) = status(&[&own.display().to_string()]);
    assert_eq!(code, Some(2), "{text}");
}

/// A disk that is here is asked.
#[test]
fn a_disk_that_is_here_is_looked_at() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root: it makes a loop device");
    let folder = installed("adopt-disk", "by-variable");
    let image = folder.path("image");
    let run = |program: &str, words: &[&str]| {
        let out =
            Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(out.status.success(), "{program} {words:?}: {}", said(&out));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("an image");
    let image = image.display().to_string();
    run("mkfs.ext4", &["-q", "-F", "-O", "mmp", "-E", "mmp_update_interval=1", &image]);
    let device = run("losetup", &["-f", "--show", &image]);
    let _loose = Loose(device.clone());
    let script = fs::read_to_string(folder.path("states.sh")).expect("a script");
    folder.script("states.sh", &script.replace("/dev/mapper/mmp", &device));
    let out = glha(&["adopt", &conf_of(&folder)]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(said(&out).contains("GUARD        mmp"), "{}", said(&out));
    run("tune2fs", &["-f", "-O", "^mmp", &image]);
    let out = glha(&["adopt", &conf_of(&folder)]);
    let step = format!("tune2fs -O mmp -E mmp_update_interval=1 {device}");
    assert!(said(&out).contains(&step), "{}", said(&out));
}

/// A loop device, let go of.
struct Loose(String);

impl Drop for Loose {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

// --- what nobody should have

/// Scripts and files that are none; each is told what is wrong, and nothing ends in a panic.
#[test]
fn nasty_scripts_are_named() {
    let folder = Folder::new("adopt-nasty");
    let huge = "mount /dev/a /b\n".repeat(40_000);
    let deep = format!("{}mount /dev/a /b{}", "if a; then ".repeat(3000), "; fi".repeat(3000));
    let calls = format!(
        "f0() {{ mount /dev/a /b; }}\n{}f18\n",
        (1..19).map(|n| format!("f{n}() {{ f{0}; f{0}; f{0}; }}\n", n - 1)).collect::<String>()
    );
    let grows = format!("A=xxxxxxxx\n{}mount $A /b\n", "A=$A$A\n".repeat(60));
    let own = folder.path("n.sh").display().to_string();
    let source = format!("#!/bin/sh\n. {own}\n");
    let call = format!("#!/bin/sh\n{own}\nmount /dev/a /b\n");
    for (text, expected) in [
        (b"\x7fELF\x02\0\0".to_vec(), None),
        (huge.into_bytes(), Some("hardly a script")),
        (deep.into_bytes(), Some("nested too deeply")),
        (calls.into_bytes(), Some("not followed to its end")),
        (grows.into_bytes(), Some("depends on what the script does not say")),
        (source.into_bytes(), Some("being read already")),
        (call.into_bytes(), Some("being read already")),
        (b"#!/bin/sh\r\nmount /dev/a /b\r\n".to_vec(), Some("n.sh:1: it has the line endings")),
        (b"if true\nmount /dev/a /b\n".to_vec(), Some("n.sh:1: no 'then' follows")),
        (b"echo 'mount /dev/a /b\n".to_vec(), Some("n.sh:1: a ' is never closed")),
        (b"#!/usr/bin/perl\nsystem('umount /b');\n".to_vec(), Some("script for perl")),
        (b"\xff\xfe\xfa mount\n".to_vec(), Some("depends on what")),
        (b"mount \"$(cat /etc/dev)\" /b\n".to_vec(), Some("depends on what")),
        (b"cat <<A <<B\numount\nA\nx\nB\n".to_vec(), Some("writes a text about storage")),
        (b"cat <<A\nnever ended".to_vec(), None),
        (Vec::new(), None),
    ] {
        fs::write(folder.path("n.sh"), &text).expect("a script");
        let conf = folder.path("keepalived.conf");
        let instance = format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n notify {own}\n \
             virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n"
        );
        fs::write(&conf, instance).expect("a configuration");
        let out = glha(&["adopt", &conf.display().to_string()]);
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        let told = said(&out);
        match expected {
            Some(expected) => {
                assert_eq!(out.status.code(), Some(1), "{shown}: {told}");
                assert!(told.contains(expected), "{shown}: {told}");
            }
            None => assert!(matches!(out.status.code(), Some(0 | 1)), "{shown}: {told}"),
        }
    }
    // What is no regular file is not waited for.
    for kind in ["fifo", "folder", "none"] {
        let path = folder.path("n.sh");
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
        match kind {
            "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("fifo"),
            "folder" => fs::create_dir(&path).expect("a folder"),
            _ => {}
        }
        let out = glha(&["adopt", &folder.path("keepalived.conf").display().to_string()]);
        assert_eq!(out.status.code(), Some(1), "{kind}: {}", said(&out));
        assert!(said(&out).contains("Left to you:\n"), "{kind}: {}", said(&out));
    }
}

/// What costs much with every step: all of it is given up, or done, in a moment.
#[test]
fn nothing_takes_long() {
    let variables: String = (0..900).map(|n| format!("V{n}={}\n", "x".repeat(100))).collect();
    let functions =
        "f() { case $1 in MANY) x;; esac; g \"$@\" \"$@\"; }\ng() { f \"$@\" \"$@\"; }\n";
    let arms: String = (0..5000).map(|n| format!("a{n}|b{n}) x;;\n")).collect();
    for script in [
        format!("{variables}{}", "x && y\n".repeat(20_000)),
        format!("{variables}{}", "(x)\n".repeat(20_000)),
        format!(
            "V=xxxxxxxxxxxxxxxxxxxxxxxxxxxx\n{}",
            format!("x {}\n", "$V".repeat(4000)).repeat(20)
        ),
        format!("{functions}f a b c d\n").replace("MANY", "a"),
        format!("f() {{ case $1 in\n{arms}esac; }}\n{}", "f $(x)\n".repeat(10_000)),
        format!("{}{}", "f() { x; y; }\n".repeat(5000), "while x; do y; done\n".repeat(5000)),
        "a || mount /dev/$X /b\n".repeat(10_000),
        "for i in 1 2 3 4 5 6 7 8 9; do\n".repeat(20) + "x\n" + &"done\n".repeat(20),
    ] {
        fuzz(script.as_bytes());
    }
    // A large site: each instance has a script of its own.
    const INSTANCES: usize = 2000;
    let instance = |n: usize| {
        format!(
            "vrrp_instance V{n} {{\n interface eth0\n virtual_router_id {}\n notify {ETC}/{n}.sh\n \
             virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n",
            n % 255 + 1
        )
    };
    let conf: String = (0..INSTANCES).map(instance).collect();
    let read = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        let script = |n: &str| format!("if [ $3 = MASTER ]; then\nmount /dev/v{n} /srv/{n}\nfi\n");
        let text = name.strip_suffix(".sh").map_or_else(|| conf.clone(), script);
        Some(text.into_bytes())
    };
    let plan = planned(&read, "").expect("a plan");
    assert_eq!(plan.files.len(), INSTANCES + 2, "its scripts, and two configurations");
    assert!(plan.report().contains("+ notify /etc/keepalived/1999.sh.glha"));
}

/// The body of a fuzzer: any bytes are a script, and a plan for it holds what plans promise.
fn fuzz(bytes: &[u8]) {
    let conf = format!(
        "vrrp_script c {{\n script {ETC}/n.sh\n}}\nvrrp_instance V {{\n interface eth0\n virtual_router_id 1\n \
         notify {ETC}/n.sh\n track_script {{\n c\n }}\n virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n"
    );
    let of = |script: &[u8]| {
        let script = script.to_vec();
        let conf = conf.clone().into_bytes();
        move |path: &Path| match path.file_name()?.to_str()? {
            "keepalived.conf" => Some(conf.clone()),
            "n.sh" => Some(script.clone()),
            _ => None,
        }
    };
    let plan = planned(&of(bytes), "/dev/b /b ext4 noauto 0 0\n").expect("a plan");
    let Some(new) = plan.files.iter().find(|new| new.path.ends_with("n.sh.glha")) else { return };
    // What is left is a script, in which nothing more goes.
    let text = String::from_utf8_lossy(&new.bytes).into_owned();
    assert!(glha::adopt::read::read(&text).is_ok(), "{text}");
    let again = planned(&of(&new.bytes), "").expect("a plan");
    assert!(
        again.files.iter().all(|more| !more.path.ends_with("n.sh.glha")),
        "{}\n=>\n{text}\n---\n{}",
        String::from_utf8_lossy(bytes),
        again.report()
    );
    assert!(new.bytes.len() <= bytes.len() + 64 * 1024);
}

/// Seconds in a debug build; some hundred thousand find nothing more.
const ROUNDS: usize = 10_000;

#[test]
fn mutated_scripts_do_no_harm() {
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for case in cases() {
        for entry in fs::read_dir(&case).expect("a case") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "sh") {
                corpus.push(fs::read(path).expect("a script"));
            }
        }
    }
    let words: Vec<&[u8]> = [
        "mount /dev/a /b",
        "umount /b",
        "if ",
        "; then\n",
        "fi\n",
        "case $3 in\n",
        "MASTER) ",
        ";;\n",
        "esac\n",
        "$(",
        ")",
        "`",
        "\"",
        "'",
        "${",
        "}",
        "{ ",
        "\n",
        " && ",
        " || ",
        "!",
        "|",
        "&",
        "\\\n",
        "<<E\n",
        "E\n",
        "$?",
        "f() { ",
        "f\n",
        "while ",
        "do ",
        "done\n",
        "for i in a b; do ",
        "exit 1\n",
        "\u{ff}",
        "#",
        "[ ",
        " ]",
        "systemctl start x\n",
        "systemctl stop x\n",
        ". /etc/keepalived/n.sh\n",
        "local D=",
        "((",
        "[[ ",
    ]
    .map(str::as_bytes)
    .to_vec();
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("a number") % below.max(1)
    };
    corpus.iter().for_each(|script| fuzz(script));
    for _ in 0..ROUNDS {
        let mut script = corpus[next(corpus.len())].clone();
        for _ in 0..=next(6) {
            let at = next(script.len() + 1);
            match next(4) {
                0 => {
                    script.truncate(at);
                }
                1 => {
                    let end = (at + next(12)).min(script.len());
                    script.drain(at..end);
                }
                2 => {
                    let word = words[next(words.len())];
                    script.splice(at..at, word.iter().copied());
                }
                _ => {
                    let other = corpus[next(corpus.len())].clone();
                    let begin = next(other.len());
                    let end = (begin + next(80)).min(other.len());
                    script.splice(at..at, other[begin..end].iter().copied());
                }
            }
        }
        fuzz(&script);
    }
}
