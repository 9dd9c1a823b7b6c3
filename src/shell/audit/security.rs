//! What keepalived says of scripts as such, whoever uses them: those without script security, and
//! those that nobody tracks.

use std::path::Path;

use crate::conf::command;
use crate::conf::{Config, Diagnostic, Script, Severity};
use crate::shell::audit::{SEARCH_PATH, uses};
use crate::shell::host::script;

/// A script that no instance tracks, by name.
pub type Untracked = (String, Script);

fn program(script: &Script) -> Option<&String> {
    script.argv.first().filter(|_| !command::is_readable(&script.argv))
}

/// Is there a file of this name? What it is, and whether it may be run, is not asked.
fn is_there(script: &Script) -> bool {
    let Some(program) = program(script) else { return false };
    let named = |folder: &str| Path::new(folder).join(program).exists();
    match program.contains('/') {
        true => Path::new(program).exists(),
        false => SEARCH_PATH.split(':').any(named),
    }
}

/// keepalived counts every script that is there and has a user, tracked or not, but only if there is
/// an instance; those of start and stop it counts in any case. The scripts of a `hooks` block are
/// glha's own and not counted: adding the block to a configuration must not change what `-t` answers.
/// They are held to script security when it is enabled.
pub fn unsecured(config: &mut Config, untracked: &[Untracked]) -> Option<Diagnostic> {
    if config.global.script_security {
        return None;
    }
    let daemon = &config.global.daemon;
    let edges = [&daemon.startup, &daemon.shutdown].into_iter().flatten().map(|edge| &edge.script);
    let of_instances = uses(config).into_iter().filter(|one| !one.is_hook).map(|one| one.script);
    let untracked = untracked.iter().map(|(_, script)| script);
    let has_instances = config.spec.instances.iter().next().is_some();
    let has_user = |script: &&Script| script.rights.why_unknown().is_none();
    // Nobody has looked up the users of those that never run.
    let of_instances = of_instances.filter(has_user).chain(untracked).filter(|_| has_instances);
    let counted = of_instances.chain(edges.filter(has_user));
    let first = counted.filter(|script| is_there(script)).map(|script| script.span).min()?;
    config.global.scripts_unsecured = true;
    let message = "SECURITY VIOLATION - scripts are being executed but script_security not \
                   enabled. (add `enable_script_security` to global_defs)";
    let (severity, message) = (Severity::Fault, message.to_owned());
    Some(Diagnostic { span: first, severity, message, suggestion: None })
}

/// keepalived looks for every script, tracked or not.
pub fn unusable(config: &Config, untracked: &[Untracked]) -> Vec<Diagnostic> {
    let one = |(name, script): &Untracked| {
        let program = program(script)?;
        let found = script::find(program, SEARCH_PATH);
        let why = match found {
            // Of a file that may not be run it finds nothing to say.
            Err(_) if Path::new(program).is_file() => return None,
            Err(why) => why,
            Ok(path) if config.global.script_security => script::secure(&path).err()?.to_string(),
            Ok(_) => return None,
        };
        let message = format!("vrrp_script {name}: {why}; no instance tracks it, so it may go");
        Some(Diagnostic { span: script.span, severity: Severity::Fault, message, suggestion: None })
    };
    untracked.iter().filter_map(one).collect()
}
