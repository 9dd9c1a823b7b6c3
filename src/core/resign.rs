//! Resignation: a person wants a node to hand over, and to stay out of it for a while.

/// Whether an instance has resigned, and from when on it may take over again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resignation(Option<Resigned>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resigned {
    /// It waits for another master even if none ever comes.
    is_forced: bool,
    /// Another master was heard since.
    has_heard: bool,
}

impl Resignation {
    /// A person wants it; what there is to say.
    pub(super) fn begin(&mut self, is_forced: bool) -> String {
        self.0 = Some(Resigned { is_forced, has_heard: false });
        let until = if is_forced {
            "until another master was heard and is gone"
        } else {
            "until the other master is gone, or nobody takes over"
        };
        format!("resigned: stays backup {until}")
    }

    /// A person wants no more of it. Was there anything to cancel?
    pub(super) const fn cancel(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Does it stay out?
    pub(super) const fn is_on(self) -> bool {
        self.0.is_some()
    }

    /// Another master was heard.
    pub(super) const fn hears_master(&mut self) {
        if let Some(resigned) = &mut self.0 {
            resigned.has_heard = true;
        }
    }

    /// Does it wait for a master that it has not heard yet?
    pub(super) const fn awaits_master(self) -> bool {
        matches!(self.0, Some(Resigned { is_forced: true, has_heard: false }))
    }

    /// Nobody is master any more: unless it still waits for one, the resignation is over, and this is
    /// to be said.
    pub(super) const fn nobody_is_master(&mut self) -> Option<&'static str> {
        let Some(resigned) = self.0 else { return None };
        if self.awaits_master() {
            return None;
        }
        self.0 = None;
        Some(if resigned.has_heard {
            "the other master is gone: no longer resigned"
        } else {
            "nobody has taken over: no longer resigned"
        })
    }
}
