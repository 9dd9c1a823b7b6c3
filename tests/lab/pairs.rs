//! Scenarios that are functions of two daemons, each as a test of its own with each pair of them.

/// Makes `scenario::NAME(a, b)` of the module where this stands a test with each pair: the one of two
/// keepalived proves the scenario itself.
macro_rules! with_every_pair {
    ($($scenario:ident)*) => {$(
        mod $scenario {
            use $crate::lab::Subject::{Glha, Keepalived};

            #[test]
            fn keepalived_keepalived() {
                super::scenario::$scenario(Keepalived, Keepalived);
            }

            #[test]
            fn keepalived_glha() {
                super::scenario::$scenario(Keepalived, Glha);
            }

            #[test]
            fn glha_keepalived() {
                super::scenario::$scenario(Glha, Keepalived);
            }

            #[test]
            fn glha_glha() {
                super::scenario::$scenario(Glha, Glha);
            }
        }
    )*};
}

/// The same with the two pairs in which they meet each other.
macro_rules! with_mixed_pairs {
    ($($scenario:ident)*) => {$(
        mod $scenario {
            use $crate::lab::Subject::{Glha, Keepalived};

            #[test]
            fn keepalived_glha() {
                super::scenario::$scenario(Keepalived, Glha);
            }

            #[test]
            fn glha_keepalived() {
                super::scenario::$scenario(Glha, Keepalived);
            }
        }
    )*};
}

#[allow(unused_imports)] // every test binary uses its own part of the lab
pub(crate) use {with_every_pair, with_mixed_pairs};
