//! Users and groups of the configuration, by number.

use nix::unistd::{Group, User as Account};

use super::run::Ids;
use crate::conf::User;

/// Looks a user up, by name or number. May ask a directory service and wait for it: only while the
/// configuration is read.
///
/// # Errors
///
/// Which name is unknown.
pub fn lookup(user: &User) -> Result<Ids, String> {
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
