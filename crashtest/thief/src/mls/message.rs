//! Private messages (RFC 9420, section 6.3).

use crate::bytes::{Reader, put_vector};

/// `ContentType` of an application message.
pub(crate) const APPLICATION: u8 = 1;
/// `ContentType` of a Commit.
pub(crate) const COMMIT: u8 = 3;

const PROTOCOL_VERSION: u16 = 1;
const WIRE_FORMAT_PRIVATE: u16 = 2;

/// A private message, its parts still sealed.
#[derive(Clone)]
pub(crate) struct PrivateMessage {
    pub(crate) group: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) content_type: u8,
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) sender_data: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

impl PrivateMessage {
    /// Reads an `MLSMessage` that holds one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if (reader.be_u16()?, reader.be_u16()?) != (PROTOCOL_VERSION, WIRE_FORMAT_PRIVATE) {
            return None;
        }
        Some(Self {
            group: reader.vector()?.to_vec(),
            epoch: reader.be_u64()?,
            content_type: reader.u8()?,
            authenticated_data: reader.vector()?.to_vec(),
            sender_data: reader.vector()?.to_vec(),
            ciphertext: reader.vector()?.to_vec(),
        })
    }

    /// `SenderDataAAD`.
    pub(crate) fn sender_data_aad(&self) -> Option<Vec<u8>> {
        let mut aad = Vec::new();
        put_vector(&mut aad, &self.group)?;
        aad.extend_from_slice(&self.epoch.to_be_bytes());
        aad.push(self.content_type);
        Some(aad)
    }

    /// `PrivateContentAAD`.
    pub(crate) fn content_aad(&self) -> Option<Vec<u8>> {
        let mut aad = self.sender_data_aad()?;
        put_vector(&mut aad, &self.authenticated_data)?;
        Some(aad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_apart_and_no_prefix_of_it_does() {
        let mut bytes = vec![0, 1, 0, 2, 1, 5];
        bytes.extend(9_u64.to_be_bytes());
        bytes.extend([1, 2, 8, 8, 1, 7, 2, 6, 6]);
        let message = PrivateMessage::read(&bytes).unwrap();
        assert_eq!((message.epoch, message.content_type), (9, APPLICATION));
        assert_eq!(message.ciphertext, [6, 6]);
        assert_eq!(message.content_aad().unwrap().len(), 2 + 8 + 1 + 3);
        for length in 0..bytes.len() {
            assert!(PrivateMessage::read(&bytes[..length]).is_none());
        }
    }
}
