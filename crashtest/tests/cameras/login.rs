//! How the hub is told of a camera that asks who is there.

use std::path::Path;

use test_camera::{PASSWORD, USER};

/// Writes the file with the password of all cameras.
pub(crate) fn password_file(place: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(place, PASSWORD).expect("it can be written");
    let ours = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(place, ours).expect("it is ours");
}

/// A camera's table in the hub's configuration; `more` stands behind what every one has.
pub(crate) fn table(name: &str, url: &str, password: &Path, more: &str) -> String {
    let password = password.to_string_lossy();
    format!(
        "\n[[camera]]\nkind = \"rtsp\"\nname = \"{name}\"\nurl = \"{url}\"\nuser = \"{USER}\"\n\
         password_file = {password:?}\n{more}\n"
    )
}
