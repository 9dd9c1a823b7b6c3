//! What is said over the control socket: one JSON object a line, both ways.

use serde::{Deserialize, Serialize};

pub use super::status::{
    BfdStatus, Check, InstanceStatus, Part, Peer, Priority, Ran, Refusal, Status, Storage,
};

/// The schema of a reply that is nothing but an answer.
pub const REPLY: &str = "glha.reply/1";

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of one instance or of all: a [`Status`].
    Status {
        /// Which; all without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
    },
    /// The last records, one a line, and then a [`Reply`] unless more are to follow.
    Events {
        /// Whose; everything without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// How many at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<usize>,
        /// Every later one too, as it happens, for as long as the client stays.
        #[serde(default)]
        follow: bool,
    },
    /// Why an instance is where it is: a [`Why`].
    Why {
        /// Which.
        instance: String,
    },
    /// Hand over, and stay backup.
    Resign {
        /// Which.
        instance: String,
        /// Even if nobody is there to take over.
        #[serde(default)]
        force: bool,
        /// No: be what you would be.
        #[serde(default)]
        cancel: bool,
    },
    /// A person's word that the storage is free.
    Released {
        /// Whose.
        instance: String,
    },
    /// Maintenance begins.
    Hold {
        /// Which.
        instance: String,
    },
    /// Maintenance ends.
    Unhold {
        /// Which.
        instance: String,
    },
    /// Read the configuration again.
    Reload,
    /// The counters, in Prometheus' text format: a [`Metrics`].
    Metrics,
}

/// An answer in words, or a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// `glha.reply/1`.
    pub schema: String,
    /// It was done.
    pub ok: bool,
    /// What was done, or why not.
    pub text: String,
    /// Of a refusal, in one word: `busy`, `bad_request`, `unknown_instance`, `refused` or `too_long`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// It was done, but something about that is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// What a refused configuration has wrong with it, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<String>,
}

impl Reply {
    /// It was done.
    pub fn done(text: impl Into<String>) -> Self {
        let (schema, text) = (REPLY.into(), text.into());
        Self { schema, ok: true, text, error: None, warning: None, diagnostics: Vec::new() }
    }

    /// It was not.
    pub fn refused(error: &str, text: impl Into<String>) -> Self {
        let (schema, text) = (REPLY.into(), text.into());
        let (error, warning) = (Some(error.into()), None);
        Self { schema, ok: false, text, error, warning, diagnostics: Vec::new() }
    }
}

/// Why an instance is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// `glha.why/1`.
    pub schema: String,
    /// The instance, as in a status.
    pub instance: InstanceStatus,
    /// How it came to this: the last records of the instance, oldest first.
    pub records: Vec<crate::shell::state::record::Record>,
}

/// The counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// `glha.metrics/1`.
    pub schema: String,
    /// Prometheus' text format.
    pub metrics: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_plain_json() {
        let parse = |text: &str| serde_json::from_str::<Request>(text);
        assert_eq!(
            parse(r#"{"command":"status"}"#).expect("it reads"),
            Request::Status { instance: None }
        );
        assert_eq!(
            parse(r#"{"command":"resign","instance":"VI_1"}"#).expect("it reads"),
            Request::Resign { instance: "VI_1".into(), force: false, cancel: false }
        );
        assert_eq!(parse(r#"{"command":"reload"}"#).expect("it reads"), Request::Reload);
        for bad in ["", "{}", "[]", "null", r#"{"command":"x"}"#, r#"{"command":"hold"}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(r#"{"command":"status","instanse":"VI_1"}"#).is_err());
        let events = Request::Events { instance: None, last: Some(3), follow: true };
        let text = serde_json::to_string(&events).expect("it serialises");
        assert_eq!(text, r#"{"command":"events","last":3,"follow":true}"#);
    }
}
