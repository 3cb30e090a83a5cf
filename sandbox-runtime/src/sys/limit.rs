//! How many processes this one, and all that comes of it, may be.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Holds this process, and all that comes of it, to so many processes and threads of its user; less
/// where it is under a stricter limit. The command's jail says the same again.
pub fn processes(most: u64) -> Result<(), Errno> {
    let most = getrlimit(Resource::Nproc)
        .maximum
        .map_or(most, |hard| hard.min(most));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Nproc, limit)
}
