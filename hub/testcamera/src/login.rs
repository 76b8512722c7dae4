//! Who is there: basic and digest login (RFC 2617), the server's side.
//!
//! It must never take a digest that was made for another request.

use base64ct::{Base64, Encoding as _};
use md5::{Digest as _, Md5};

use crate::{LoginKind, PASSWORD, USER};

const REALM: &str = "test camera";
/// A real camera makes a new one for each client.
const NONCE: &str = "0123456789abcdef0123456789abcdef";

/// What the `WWW-Authenticate` header of a refusal says; `None` if everybody may watch.
pub(crate) fn challenge(kind: LoginKind) -> Option<String> {
    match kind {
        LoginKind::Open => None,
        LoginKind::Basic => Some(format!("Basic realm=\"{REALM}\"")),
        LoginKind::Digest => Some(format!(
            "Digest realm=\"{REALM}\", nonce=\"{NONCE}\", algorithm=MD5"
        )),
    }
}

/// Whether a request's `Authorization` header is that of the owner.
pub(crate) fn is_owner(kind: LoginKind, method: &str, authorization: Option<&str>) -> bool {
    match (kind, authorization) {
        (LoginKind::Open, _) => true,
        (_, None) => false,
        (LoginKind::Basic, Some(given)) => {
            let want = Base64::encode_string(format!("{USER}:{PASSWORD}").as_bytes());
            given.strip_prefix("Basic ").map(str::trim) == Some(want.as_str())
        }
        (LoginKind::Digest, Some(given)) => given
            .strip_prefix("Digest ")
            .is_some_and(|given| is_digest_of(given, method)),
    }
}

fn is_digest_of(given: &str, method: &str) -> bool {
    let field = |name: &str| {
        given.split(',').find_map(|part| {
            let (key, value) = part.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"').to_owned())
        })
    };
    let (Some(uri), Some(response)) = (field("uri"), field("response")) else {
        return false;
    };
    let owner = md5_hex(&format!("{USER}:{REALM}:{PASSWORD}"));
    let request = md5_hex(&format!("{method}:{uri}"));
    let want = md5_hex(&format!("{owner}:{NONCE}:{request}"));
    field("username").as_deref() == Some(USER)
        && field("nonce").as_deref() == Some(NONCE)
        && response == want
}

fn md5_hex(text: &str) -> String {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_of_this_request_is_let_in() {
        let owner = md5_hex(&format!("{USER}:{REALM}:{PASSWORD}"));
        let request = md5_hex("DESCRIBE:rtsp://cam/");
        let response = md5_hex(&format!("{owner}:{NONCE}:{request}"));
        let given = format!(
            "Digest username=\"{USER}\", realm=\"{REALM}\", nonce=\"{NONCE}\", uri=\"rtsp://cam/\", response=\"{response}\""
        );
        let is_in = |method, given| is_owner(LoginKind::Digest, method, given);
        assert!(is_in("DESCRIBE", Some(&given)));
        assert!(!is_in("SETUP", Some(&given)));
        assert!(!is_in("DESCRIBE", None));
        assert!(!is_in("DESCRIBE", Some("Basic YWRtaW46czNjcmV0")));
        let basic = "Basic YWRtaW46czNjcmV0";
        assert!(is_owner(LoginKind::Basic, "DESCRIBE", Some(basic)));
        assert!(!is_owner(LoginKind::Basic, "DESCRIBE", Some("Basic eDp4")));
        assert!(is_owner(LoginKind::Open, "DESCRIBE", None));
    }
}
