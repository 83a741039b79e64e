//! leveret-management.
