//! What a mount hook itself says of its settings and its storage, by its action `check`.

use std::path::Path;
use std::time::Duration;

use super::read_script;
use crate::conf::Config;
use crate::core::event::{Facts, HookEnd, MountAction};
use crate::core::spec::InstanceId;
use crate::shell::hooks::compose::Hooks;
use crate::shell::hooks::wait::wait_for;
use crate::work::Key;

/// A hook that has not answered by then waits for a device that does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A line of a hook that knows the action. Nobody else is asked: a script that takes any word that it
/// does not know for an order to mount would mount.
const MARK: &str = "# glha: check";

/// A line for each problem. None where nobody can be asked, or there is no answer: the hook does not
/// know the action, only root may ask it, or it ended with another status than 0 and 1.
pub(super) fn ask(config: &Config, id: InstanceId) -> Option<Vec<String>> {
    let hooks = config.gating_hooks(id)?;
    let script = hooks.mount.as_ref()?.script.argv.first()?;
    let text = read_script(Path::new(script))?;
    if !nix::unistd::geteuid().is_root() || !knows_check(&String::from_utf8_lossy(&text)) {
        return None;
    }
    let spec = config.spec.instances.get(id)?;
    let timeout = spec.gate.as_ref()?.timeout;
    let facts = Facts {
        group: None,
        instance: spec.name.clone(),
        state: "INIT",
        previous: "INIT",
        phase: "init",
        reason: "start",
        detail: "a look at the configuration".into(),
        transition: 0,
        vrid: spec.vrid,
        priority: spec.priority,
        peer: None,
        how: None,
        released: false,
        lost: false,
    };
    let mut run = Hooks::new().mount(config, id, MountAction::Probe, timeout, &facts)?;
    // It is no action of the core, so it has no event: the words and the variable say what is asked.
    let probe = MountAction::Probe.word();
    let asked = run.argv.iter_mut().rev().nth(1).filter(|word| *word == probe)?;
    *asked = "check".to_owned();
    for (_, value) in run.env.iter_mut().filter(|(key, _)| key == "GLHA_ACTION") {
        *value = "check".into();
    }
    run.stdin = Vec::new();
    run.timeout = Some(ANSWER_TIMEOUT);
    let waited = wait_for(Key::Mount(id), run, None).ok()?;
    match waited.end {
        HookEnd::Exited(0) => Some(Vec::new()),
        HookEnd::Exited(1) => Some(waited.output),
        _ => None,
    }
}

fn knows_check(script: &str) -> bool {
    script.lines().any(|line| line.trim_end() == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hook_that_says_so_is_asked() {
        assert!(knows_check("#!/bin/sh\n# glha: check\n"));
        for other in ["", "#!/bin/sh\nmount /dev/sdb1 /srv\n", "echo '# glha: check'\n"] {
            assert!(!knows_check(other), "{other}");
        }
        assert!(knows_check(include_str!("../../../hooks/mount.sh")));
    }
}
