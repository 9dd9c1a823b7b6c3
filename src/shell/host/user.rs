//! Users and groups of the configuration, by number.
//!
//! They are asked for while the configuration is loaded, each once, and never again: the answer may
//! take as long as a directory server does.

use std::collections::HashMap;

use nix::unistd::{Group, User as Account};

use crate::conf::{Config, Ids, Rights, Span, User};

/// The account that keepalived runs scripts as, where it exists and nothing else is said.
pub const DEFAULT_ACCOUNT: &str = "keepalived_script";

/// Looks up what every script of a configuration runs with: its own user, `script_user`, the account
/// [`DEFAULT_ACCOUNT`] if there is one, or the daemon's own rights.
pub fn resolve(config: &mut Config) {
    let mut accounts = Accounts::default();
    let default = User { user: DEFAULT_ACCOUNT.into(), group: None, span: Span::default() };
    let global = match &config.global.script_user {
        Some(user) => accounts.rights(user),
        None => match accounts.rights(&default) {
            Rights::Unknown(_) => Rights::Own,
            known => known,
        },
    };
    for script in config.scripts_mut() {
        script.rights = match &script.user {
            Some(user) => accounts.rights(user),
            None => global.clone(),
        };
    }
    config.global.script_rights = global;
    for fifo in &mut config.global.daemon.fifos {
        fifo.owner_rights = fifo.owner.as_ref().map_or(Rights::Own, |user| accounts.rights(user));
    }
}

/// Those that were looked up already.
#[derive(Default)]
struct Accounts(HashMap<(String, Option<String>), Rights>);

impl Accounts {
    fn rights(&mut self, user: &User) -> Rights {
        let known = self.0.entry((user.user.clone(), user.group.clone()));
        known.or_insert_with(|| lookup(user).map_or_else(Rights::Unknown, Rights::Of)).clone()
    }
}

/// Looks a user up, by name or number. The error says which name is unknown.
fn lookup(user: &User) -> Result<Ids, String> {
    let name = &user.user;
    let account = match Account::from_name(name) {
        Ok(Some(account)) => Some(account),
        Ok(None) => None,
        Err(error) => return Err(format!("user {name}: {error}")),
    };
    let uid = match &account {
        Some(account) => account.uid.as_raw(),
        None => name.parse().map_err(|_| format!("there is no user {name}"))?,
    };
    let gid = match (&user.group, account) {
        (Some(group), _) => group_id(group)?,
        (None, Some(account)) => account.gid.as_raw(),
        (None, None) => {
            return Err(format!("user {name} has no account, so a group is needed too"));
        }
    };
    Ok(Ids { uid, gid })
}

fn group_id(name: &str) -> Result<u32, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => name.parse().map_err(|_| format!("there is no group {name}")),
        Err(error) => Err(format!("group {name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(user: &str, group: Option<&str>) -> Result<(u32, u32), String> {
        let group = group.map(str::to_owned);
        let user = User { user: user.to_owned(), group, span: crate::conf::Span::default() };
        lookup(&user).map(|ids| (ids.uid, ids.gid))
    }

    /// A script that was left out would run as nobody, or be looked up when it is run.
    #[test]
    fn every_script_is_looked_up_once() {
        const TEXT: &str = "
            global_defs {
                script_user 54321 54322
                startup_script /bin/true
                shutdown_script /bin/true
                notify_fifo /run/a root
                notify_fifo_script /bin/true
                vrrp_notify_fifo /run/b
                vrrp_notify_fifo_script /bin/true 11 12
            }
            vrrp_script check {
                script /bin/true
                user 21 22
            }
            vrrp_sync_group G {
                group {
                    A
                }
                notify_master /bin/true
                notify_backup /bin/true
                notify_fault /bin/true
                notify_stop /bin/true
                notify /bin/true
            }
            vrrp_instance A {
                interface eth0
                virtual_router_id 1
                track_script {
                    check
                }
                virtual_ipaddress {
                    10.0.0.1
                }
                notify_master /bin/true
                notify_backup /bin/true
                notify_fault /bin/true
                notify_stop /bin/true
                notify_deleted /bin/true
                notify_master_rx_lower_pri /bin/true
                notify /bin/true
            }
            hooks G {
                mount
                check
                notify
            }";
        let mut read = |_: &std::path::Path| Ok(TEXT.as_bytes().to_vec());
        let mut list = |_: &std::path::Path| Ok(Vec::new());
        let mut files = crate::conf::Files { read: &mut read, list: &mut list };
        let loaded = crate::conf::load("x".as_ref(), &mut files, &crate::conf::Context::default());
        let mut config = loaded.config;
        let scripts = |config: &Config| format!("{config:?}").matches("rights: ").count();
        resolve(&mut config);
        let Rights::Unknown(nobody_has_looked) = Rights::default() else { unreachable!() };
        assert!(!format!("{config:?}").contains(&nobody_has_looked), "{config:#?}");
        assert_eq!(scripts(&config), 4 + 1 + 5 + 7 + 3 + 3, "{config:#?}");
        let ids = |uid, gid| Rights::Of(Ids { uid, gid });
        assert_eq!(config.checks.as_slice()[0].script.rights, ids(21, 22));
        assert_eq!(config.global.script_rights, ids(54321, 54322));
        let fifos = &config.global.daemon.fifos;
        assert_eq!(fifos[0].owner_rights, ids(0, 0));
        assert_eq!(fifos[1].owner_rights, Rights::Own);
        assert_eq!(fifos[1].script.as_ref().map(|s| &s.rights), Some(&ids(11, 12)));
        config.groups.iter_mut().for_each(|group| group.notify.every = None);
        assert_eq!(config.scripts_mut().count(), 4 + 1 + 4 + 7 + 3);
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids("root", None), Ok((0, 0)));
        assert_eq!(ids("root", Some("12345")), Ok((0, 12345)));
        assert_eq!(ids("54321", Some("root")), Ok((54321, 0)));
        assert!(ids("no such user", None).is_err_and(|why| why.contains("no such user")));
        assert!(ids("54321", None).is_err_and(|why| why.contains("group")));
        assert!(ids("root", Some("no such group")).is_err_and(|why| why.contains("no such group")));
    }
}
