//! Who may do what: users and passwords, and the patterns of permissions.

mod password;
pub(crate) mod pattern;
mod permission;
mod user;

pub use password::{HashAlgorithm, PasswordError, PasswordHash, SALT_BYTES};
pub use pattern::Pattern;
pub use permission::{Permissions, Resource, TopicPermissions};
pub use user::{PeerAddress, User};
