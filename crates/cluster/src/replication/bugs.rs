//! Bugs that tests plant, one for each rule: a checker that does not find them proves nothing. Outside of tests there
//! are none, and what asks for them is compiled away.

/// A rule that is not kept. M1 and so on are the names of the mutations in the protocol's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    /// M1: a mirror that is about to be removed no longer counts.
    ShrinksBeforeAgreed,
    /// M2: a mirror that is about to be added does not count yet.
    IgnoresAdditions,
    /// M3: what was received counts as durable.
    AcksBeforeSynced,
    /// M4: a mirror is added whatever has become of it since.
    AddsWithoutCheck,
    /// M5: a mirror may join without the start of the epoch.
    JoinsWithoutEpochStart,
    /// M6: a mirror may join whatever it has.
    JoinsUnconditionally,
    /// M7: what a deposed leader sends is accepted.
    AcceptsLowerEpochs,
    /// M8: a node that was started again leads in the same epoch.
    LeadsAfterRestart,
    /// M9: a node with another disk stays in sync.
    TrustsNewDisk,
    /// M10: any copy may be elected.
    ElectsAnybody,
    /// M11: entries are taken without looking at what is before them.
    SkipsLogMatching,
    /// M14: a node takes part before it has registered.
    ActsUnregistered,
    /// A publish that is sent again is appended again.
    AppendsResentPublishes,
    /// Publishes are taken although some before them are missing.
    AcceptsGaps,
    /// A mirror that has only what is new joins while there is something old.
    JoinsIncomplete,
    /// Publishes are confirmed when they are written here.
    ConfirmsAlone,
    /// A mirror that was copied to forgets which publishes it knows.
    LosesSessions,
    /// A leader delivers without a lease.
    #[cfg(test)]
    DeliversWithoutLease,
}

/// The bug that was planted, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Bugs {
    #[cfg(test)]
    planted: Option<Bug>,
}

impl Bugs {
    /// Whether this bug was planted.
    #[cfg(not(test))]
    #[inline]
    pub(crate) const fn has(self, _bug: Bug) -> bool {
        false
    }

    /// Whether any was planted, so that what it leads to is not an assertion's business.
    pub(crate) const fn any(self) -> bool {
        #[cfg(test)]
        {
            self.planted.is_some()
        }
        #[cfg(not(test))]
        {
            false
        }
    }

    /// Whether this bug was planted.
    #[cfg(test)]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    /// Plants a bug.
    #[cfg(test)]
    pub(crate) fn plant(bug: Option<Bug>) -> Self {
        Self { planted: bug }
    }
}
