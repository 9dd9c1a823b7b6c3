//! What an administrator gets: `make install`, the init script, the packages, which lintian and rpmlint
//! have judged.
//!
//! Each script of `tests/package` runs on a copy of this machine that is gone when it ends
//! (`machine.sh`), and says what failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn an_installation_keeps_what_was_edited_and_goes_without_a_trace() {
    on_a_machine("install.sh", &[&binary("install")]);
}

#[test]
fn the_init_script_does_what_it_says() {
    on_a_machine("init.sh", &[&binary("init")]);
}

#[test]
fn the_package_installs_upgrades_and_purges() {
    let folder = Folder::new("deb");
    let binary = binary("deb");
    let old = package(&folder.0.join("old"), &binary, "0.1.0");
    let new = package(&folder.0.join("new"), &binary, "0.1.1");
    // Its complaint about root is none of the package.
    run(Command::new("lintian").args(["--fail-on", "error,warning", "--allow-root"]).arg(&old));
    on_a_machine("deb.sh", &[&old, &new]);
}

#[test]
fn the_rpm_installs_upgrades_and_goes() {
    let folder = Folder::new("rpm");
    let binary = binary("rpm");
    let old = rpm(&folder.0.join("old"), &binary, "0.1.0");
    let new = rpm(&folder.0.join("new"), &binary, "0.1.1");
    let reasons = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpm/glha.rpmlintrc");
    run(Command::new("rpmlint").arg("--strict").arg("--rpmlintrc").arg(reasons).arg(&old));
    on_a_machine("rpm.sh", &[&old, &new]);
}

fn on_a_machine(script: &str, arguments: &[&Path]) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Inside it is in another place.
    let inside =
        |path: &&Path| path.strip_prefix(project).map(|path| Path::new("/tree").join(path));
    let arguments: Vec<PathBuf> =
        arguments.iter().map(|path| inside(path).expect("a file of the project")).collect();
    let output = Command::new(project.join("tests/package/machine.sh"))
        .arg(script)
        .args(arguments)
        .output()
        .expect("machine.sh");
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{script} (it needs root, overlayfs, systemd's tools, debhelper and rpm; tests/means.sh installs \
         them):\n{printed}{said}"
    );
}

/// The daemon under test without its debugging information, which would only cost time.
fn binary(name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let to = target.join(format!("glha-{name}"));
    run(Command::new("strip").arg("-o").arg(&to).arg(env!("CARGO_BIN_EXE_glha")));
    to
}

/// The tree as it is, without sources, and with newer hooks if the version is not the first.
fn tree(folder: &Path, version: &str) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = folder.join("tree");
    fs::create_dir_all(&tree).expect("folder");
    let parts = [
        "Makefile",
        "Cargo.toml",
        "CHANGELOG.md",
        "README.md",
        "README.zh-CN.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "debian",
        "rpm",
        "etc",
        "hooks",
        "man",
    ];
    run(Command::new("cp").arg("-r").args(parts).arg(&tree).current_dir(project));
    if version != "0.1.0" {
        let log = format!(
            "glha ({version}) unstable; urgency=medium\n\n  * Newer.\n\n -- The glha authors \
             <glha@example.org>  Tue, 24 Nov 2026 00:00:00 +0000\n"
        );
        fs::write(tree.join("debian/changelog"), log).expect("changelog");
        for hook in ["notify.sh", "check.sh"] {
            let path = tree.join("hooks").join(hook);
            let text = fs::read_to_string(&path).expect("hook");
            fs::write(&path, format!("{text}# newer\n")).expect("hook");
        }
    }
    tree
}

/// A Debian package, said to be of that version.
fn package(folder: &Path, binary: &Path, version: &str) -> PathBuf {
    let tree = tree(folder, version);
    make(&tree, &["deb"], binary);
    only(&tree.join("target/deb"), "glha_", ".deb")
}

/// The same as an rpm package.
fn rpm(folder: &Path, binary: &Path, version: &str) -> PathBuf {
    let tree = tree(folder, version);
    make(&tree, &["rpm", &format!("VERSION={version}")], binary);
    let architecture = only(&tree.join("target/rpm/RPMS"), "", "");
    only(&architecture, "glha-", ".rpm")
}

fn make(tree: &Path, words: &[&str], binary: &Path) {
    let binary = format!("BIN={}", binary.display());
    run(Command::new("make").arg("-s").args(words).arg(binary).current_dir(tree));
}

/// The file whose name begins and ends so.
fn only(folder: &Path, begins: &str, ends: &str) -> PathBuf {
    let all = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found = all.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(begins) && name.ends_with(ends)
    });
    found.next().expect("a package")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}:\n{printed}{said}");
}

/// A folder of this test's own inside the project's target folder.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("package-{name}-{id}"));
        fs::create_dir_all(&path).expect("folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
