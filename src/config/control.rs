//! Where the operator's command line meets the broker: a unix socket in the data folder, and what
//! may be sent over it.

use std::path::{Path, PathBuf};

/// The name of the socket in the data folder.
const SOCKET: &str = "control.sock";

/// The longest path that a unix socket can have, in bytes: `sun_path` has 108, one of them for the
/// zero at the end.
const PATH_BYTES_MAX: usize = 107;

/// The longest body of a request, in bytes. The longest that is meant has definitions: some 200
/// bytes a queue with its bindings.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The socket of a broker whose data is there.
///
/// # Errors
/// Its path is longer than the system allows.
pub fn socket(data_dir: &Path) -> Result<PathBuf, String> {
    let path = data_dir.join(SOCKET);
    let len = path.as_os_str().len();
    if len > PATH_BYTES_MAX {
        return Err(format!(
            "the path {} has {len} bytes, and that of a socket may have {PATH_BYTES_MAX}: name the data folder by a \
             shorter path, such as that of a symbolic link",
            path.display()
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_told_with_its_length() {
        assert_eq!(socket(Path::new("data")).unwrap(), Path::new("data/control.sock"));
        assert!(socket(Path::new(&"x".repeat(94))).is_ok());
        let refused = socket(Path::new(&"x".repeat(95))).unwrap_err();
        assert!(refused.contains("108 bytes") && refused.contains("may have 107"), "{refused}");
    }
}
