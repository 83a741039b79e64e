//! Property bytes from scratch, for messages that no client sent.

use crate::DecodeError;
use crate::properties::flag;
use crate::properties::rewrite::put_value;

/// Properties to be written; what is `None` is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PropertiesWriter<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a [u8]>,
    /// The bytes of the headers table without their length.
    pub headers: Option<&'a [u8]>,
    /// 2 is persistent.
    pub delivery_mode: Option<u8>,
    /// The priority.
    pub priority: Option<u8>,
    /// What a reply refers to.
    pub correlation_id: Option<&'a [u8]>,
    /// Where replies go.
    pub reply_to: Option<&'a [u8]>,
    /// Milliseconds in decimal, as text.
    pub expiration: Option<&'a [u8]>,
    /// The application's name for the message.
    pub message_id: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The application's type of the message.
    pub type_: Option<&'a [u8]>,
    /// The user that the publisher claims to be.
    pub user_id: Option<&'a [u8]>,
    /// The application.
    pub app_id: Option<&'a [u8]>,
    /// Deprecated.
    pub cluster_id: Option<&'a [u8]>,
}

impl PropertiesWriter<'_> {
    /// Appends flags and values to `out`. After an error `out` is as long as before.
    ///
    /// # Errors
    /// [`DecodeError::StringTooLong`] for a text of more than 255 bytes.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        match self.values(out) {
            Ok(flags) => {
                if let Some(place) = out.get_mut(start..start + 2) {
                    place.copy_from_slice(&flags.to_be_bytes());
                }
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Flags and values in bytes of their own.
    ///
    /// # Errors
    /// [`DecodeError::StringTooLong`] for a text of more than 255 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::new();
        self.write(&mut out)?;
        Ok(out)
    }

    fn values(&self, out: &mut Vec<u8>) -> Result<u16, DecodeError> {
        let timestamp = self.timestamp.map(u64::to_be_bytes);
        let fixed = |bytes: Option<&[u8]>, bit: u16, out: &mut Vec<u8>| {
            bytes.map_or(0, |bytes| {
                out.extend_from_slice(bytes);
                bit
            })
        };
        let counted = |bytes: Option<&[u8]>, bit: u16, out: &mut Vec<u8>| match bytes {
            Some(bytes) => put_value(bit, bytes, out).map(|()| bit),
            None => Ok(0),
        };
        Ok(counted(self.content_type, flag::CONTENT_TYPE, out)?
            | counted(self.content_encoding, flag::CONTENT_ENCODING, out)?
            | counted(self.headers, flag::HEADERS, out)?
            | fixed(
                self.delivery_mode.as_ref().map(std::slice::from_ref),
                flag::DELIVERY_MODE,
                out,
            )
            | fixed(self.priority.as_ref().map(std::slice::from_ref), flag::PRIORITY, out)
            | counted(self.correlation_id, flag::CORRELATION_ID, out)?
            | counted(self.reply_to, flag::REPLY_TO, out)?
            | counted(self.expiration, flag::EXPIRATION, out)?
            | counted(self.message_id, flag::MESSAGE_ID, out)?
            | fixed(timestamp.as_ref().map(<[u8; 8]>::as_slice), flag::TIMESTAMP, out)
            | counted(self.type_, flag::TYPE, out)?
            | counted(self.user_id, flag::USER_ID, out)?
            | counted(self.app_id, flag::APP_ID, out)?
            | counted(self.cluster_id, flag::CLUSTER_ID, out)?)
    }
}
