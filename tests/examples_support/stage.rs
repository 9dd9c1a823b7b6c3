//! A folder with the hooks, a configuration, and stand-ins for the programs that recipes call.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Gone with everything in it, and with what its stand-ins have started, when it is dropped.
pub struct Stage(PathBuf);

impl Stage {
    /// A folder with copies of the shipped hooks.
    pub fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let stage = Self(path.join(format!("examples-{name}-{}", std::process::id())));
        fs::create_dir_all(stage.path("bin")).expect("a folder");
        fs::create_dir_all(stage.path("hooks")).expect("a folder");
        for hook in ["mount.sh", "check.sh", "notify.sh"] {
            let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks").join(hook);
            let text = fs::read_to_string(shipped).expect("a shipped hook");
            stage.script(hook, &text);
        }
        let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/lib");
        std::os::unix::fs::symlink(parts, stage.path("hooks/lib")).expect("a link");
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn conf(&self) -> String {
        self.path("glha.conf").display().to_string()
    }

    /// Puts a script among the hooks.
    pub fn script(&self, name: &str, text: &str) {
        executable(&self.path("hooks").join(name), text);
    }

    /// A program on the path that writes down how it was called, and then does this.
    pub fn stand_in(&self, name: &str, body: &str) {
        executable(&self.path("bin").join(name), &self.recording(name, body));
    }

    /// The same in place of a hook.
    pub fn replace_hook(&self, name: &str, body: &str) {
        self.script(name, &self.recording(name, body));
    }

    /// systemctl, and service on a machine without systemd; both are written down as systemctl.
    pub fn stand_in_for_services(&self, body: &str) {
        self.stand_in("systemctl", body);
        let systemctl = self.path("bin/systemctl");
        let service = format!("#!/bin/sh\nexec {} \"$2\" \"$1\"\n", systemctl.display());
        executable(&self.path("bin/service"), &service);
    }

    fn recording(&self, name: &str, body: &str) -> String {
        let calls = self.path("calls");
        format!(
            "#!/bin/sh\n(IFS='|'; printf '%s\\n' \"{name}${{1+|}}$*\") >>{}\n{body}\n",
            calls.display()
        )
    }

    /// The calls since the last look, words joined by `|`.
    pub fn calls(&self) -> Vec<String> {
        let path = self.path("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(&path);
        text.lines().map(str::to_owned).collect()
    }

    /// Writes an example as the configuration: with this folder's hooks, and the instances that it leaves out.
    pub fn configure(&self, text: &str) {
        let hooks = self.path("hooks").display().to_string();
        let old = self.path("keepalived.conf");
        fs::write(&old, instance("VI_1")).expect("the old configuration");
        let text = text
            .replace("/etc/keepalived/keepalived.conf", &old.display().to_string())
            .replace("/etc/glha/hooks", &hooks);
        let mut whole = "global_defs {\n script_user root\n dynamic_interfaces\n}\n".to_owned();
        for line in text.lines() {
            whole.push_str(&format!("{line}\n"));
            let Some(name) = line.strip_prefix("hooks ").and_then(|rest| rest.split(' ').next())
            else {
                continue;
            };
            whole.push_str(&format!("    dir {hooks}\n"));
            let is_there = |keyword: &str| text.contains(&format!("{keyword} {name} "));
            if !is_there("vrrp_instance")
                && !text.contains("\ninclude ")
                && !text.starts_with("include ")
            {
                whole = instance(name) + &whole;
            }
        }
        fs::write(self.path("glha.conf"), whole).expect("the configuration");
    }

    /// Runs one hook as the daemon would, with this event, by `glha hooks run`.
    pub fn run(&self, words: &[&str], event: &str) -> Output {
        let event = if event.is_empty() { "{}" } else { event };
        let conf = self.conf();
        let mut all = vec!["hooks", "-f", &conf, "run", "--force", "--event", "-"];
        all.extend(words);
        self.glha(&all, event)
    }

    pub fn glha(&self, words: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glha"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        piped(command.env("LOG_DIR", self.path("log")).args(words), input)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pids = fs::read_to_string(self.path("pids")).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn instance(name: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n interface eth0\n virtual_router_id 51\n\
         virtual_ipaddress {{\n 10.9.0.70/24\n }}\n}}\n"
    )
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Runs a command with this input.
pub fn piped(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: tests/means.sh installs what is needed")
    });
    let mut stdin = child.stdin.take().expect("a pipe");
    // Who does not read it is not disturbed, and neither are we.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("its output")
}
