//! Blocking by resource alarms: an alarm makes the connection *blocking*, its next content makes it
//! *blocked*, and then it is not read until the alarm clears.
// rabbitmq: connection.blocked

use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) enum Alarm {
    #[default]
    Clear,
    Blocking(Arc<str>),
    Blocked,
}

impl Alarm {
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        matches!(self, Self::Clear)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self, Self::Blocked)
    }

    pub(crate) fn raise(&mut self, reason: Arc<str>) {
        if !self.is_blocked() {
            *self = Self::Blocking(reason);
        }
    }

    /// True if the connection was blocked.
    pub(crate) fn clear(&mut self) -> bool {
        let blocked = self.is_blocked();
        *self = Self::Clear;
        blocked
    }

    /// Content has come; the reason if that blocks the connection now.
    pub(crate) fn content(&mut self) -> Option<Arc<str>> {
        let Self::Blocking(reason) = self else { return None };
        let reason = reason.clone();
        *self = Self::Blocked;
        Some(reason)
    }
}
