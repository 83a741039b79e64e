//! The first frames of a connection: each side greets, and proves that it knows the secret.
//!
//! ```text
//!   caller: Hello(class) ──►            ──► Proof ──►
//!   called:               ◄── Hello ◄──              ◄── Proof
//! ```

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::Identity;
use super::stream::{FrameReader, StreamError, write};
use crate::replication::NodeId;
use crate::replication::wire::{ClusterId, Frame, GREETING_BYTES_MAX, Hello, Proof, Refused, Side};

/// How long it may take until a connection is there.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long the greetings may take.
pub(super) const GREET_MAX: Duration = Duration::from_secs(5);

/// What a connection is for: the stream of its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Calls = 1,
    Frames = 2,
}

impl Class {
    fn of(stream: u32) -> Option<Self> {
        match stream {
            1 => Some(Self::Calls),
            2 => Some(Self::Frames),
            _ => None,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// The other node is not there.
    #[error("no node answers at {address}: {reason}")]
    Unreached {
        /// Where it was looked for.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The other node refuses this one.
    #[error("the node at {address} refuses: {refused}")]
    Refused {
        /// Where it is.
        address: String,
        /// Why.
        refused: Refused,
    },
    /// This node refuses the other one.
    #[error("the node at {address} is refused: {refused}")]
    Refuses {
        /// Where it is.
        address: String,
        /// Why.
        refused: Refused,
    },
}

/// A connection whose other end has proved who it is.
pub(super) struct Greeted {
    pub(super) reader: FrameReader<OwnedReadHalf>,
    pub(super) writer: OwnedWriteHalf,
    /// What the other side has said of itself.
    pub(super) theirs: Hello,
}

/// Calls the node at an address.
pub(super) async fn call(
    identity: &Identity,
    ours: Hello,
    class: Class,
    address: &str,
) -> Result<Greeted, GreetError> {
    let unreached = |reason: String| GreetError::Unreached { address: address.to_owned(), reason };
    let socket = timeout(CONNECT_MAX, TcpStream::connect(address)).await;
    let socket = socket.map_err(|_| unreached("it takes too long".into()))?;
    let socket = socket.map_err(|error| unreached(error.to_string()))?;
    // Small frames go at once; a socket that does not know that is as good.
    let _ = socket.set_nodelay(true);
    let greeted = timeout(GREET_MAX, greet(identity, ours, class, socket)).await;
    greeted.unwrap_or(Err(Trouble::Stream(StreamError::Silent))).map_err(|trouble| match trouble {
        Trouble::Stream(error) => unreached(error.to_string()),
        Trouble::Refused(refused) => GreetError::Refused { address: address.to_owned(), refused },
        Trouble::Refuses(refused) => GreetError::Refuses { address: address.to_owned(), refused },
    })
}

enum Trouble {
    Stream(StreamError),
    Refused(Refused),
    Refuses(Refused),
}

impl<E: Into<StreamError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Stream(error.into())
    }
}

async fn greet(
    identity: &Identity,
    mut ours: Hello,
    class: Class,
    socket: TcpStream,
) -> Result<Greeted, Trouble> {
    let (reader, mut writer) = socket.into_split();
    let mut reader = FrameReader::new(reader);
    write(&mut writer, &Frame::Hello(ours.clone()), class as u32).await?;
    let theirs = match reader.next(GREETING_BYTES_MAX).await?.0 {
        Frame::Hello(theirs) => theirs,
        Frame::Refused(refused) => return Err(Trouble::Refused(refused)),
        _ => return Err(StreamError::Closed.into()),
    };
    if ours.cluster == ClusterId::default() {
        // Whoever belongs to no cluster talks to any.
        ours.cluster = theirs.cluster;
    }
    ours.check(&theirs, (identity.clock)()).map_err(Trouble::Refuses)?;
    let proof = |side| Proof::new(&identity.secret, theirs.cluster, side, ours.nonce, theirs.nonce);
    write(&mut writer, &Frame::Proof(proof(Side::Caller)), 0).await?;
    match reader.next(GREETING_BYTES_MAX).await?.0 {
        Frame::Proof(theirs) if theirs.is(&proof(Side::Called)) => {}
        Frame::Proof(_) => {
            return Err(Trouble::Refuses(Refused::Secret { name: theirs.name.clone() }));
        }
        Frame::Refused(refused) => return Err(Trouble::Refused(refused)),
        _ => return Err(StreamError::Closed.into()),
    }
    Ok(Greeted { reader, writer, theirs })
}

/// Answers the greeting of a caller. None: it was told why not, or it was no node.
pub(super) async fn answer(
    identity: &Identity,
    ours: Hello,
    socket: TcpStream,
    is_forgotten: impl FnOnce(NodeId) -> bool,
) -> Result<Option<(Greeted, Class)>, StreamError> {
    let _ = socket.set_nodelay(true);
    let (reader, mut writer) = socket.into_split();
    let mut reader = FrameReader::new(reader);
    let (Frame::Hello(theirs), stream) = reader.next(GREETING_BYTES_MAX).await? else {
        return Ok(None);
    };
    let Some(class) = Class::of(stream) else { return Ok(None) };
    let checked = match check(&ours, &theirs, identity) {
        Ok(()) if theirs.node != NodeId::default() && is_forgotten(theirs.node) => {
            Err(Refused::Unknown { name: theirs.name.clone(), node: theirs.node })
        }
        checked => checked,
    };
    if let Err(refused) = checked {
        write(&mut writer, &Frame::Refused(refused), 0).await?;
        return Ok(None);
    }
    write(&mut writer, &Frame::Hello(ours.clone()), class as u32).await?;
    let (Frame::Proof(proof), _) = reader.next(GREETING_BYTES_MAX).await? else {
        return Ok(None);
    };
    let expected =
        |side| Proof::new(&identity.secret, ours.cluster, side, theirs.nonce, ours.nonce);
    if !proof.is(&expected(Side::Caller)) {
        let refused = Refused::Secret { name: theirs.name.clone() };
        write(&mut writer, &Frame::Refused(refused), 0).await?;
        return Ok(None);
    }
    write(&mut writer, &Frame::Proof(expected(Side::Called)), 0).await?;
    Ok(Some((Greeted { reader, writer, theirs }, class)))
}

/// Whether to talk to a caller. One that belongs to no cluster may ask to join this one.
fn check(ours: &Hello, theirs: &Hello, identity: &Identity) -> Result<(), Refused> {
    if ours.cluster == ClusterId::default() {
        return Err(Refused::NoCluster { name: theirs.name.clone() });
    }
    let stranger = theirs.cluster == ClusterId::default() && theirs.node == NodeId::default();
    let named = Hello { cluster: ours.cluster, ..theirs.clone() };
    ours.check(if stranger { &named } else { theirs }, (identity.clock)()).map(drop)
}
