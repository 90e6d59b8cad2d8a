//! The lock under which a Unix socket's file is put in its place.
//!
//! Between `bind` and `listen`, a new socket refuses connections just as one does that a killed process has left behind. So a
//! process holds a lock while it checks whether the file is in use, replaces it and begins to listen: an advisory lock
//! (`flock`) on a file beside the socket, which the kernel releases if the process dies. The lock file exists only while a
//! process starts; one that a killed process has left is locked by the next start, and removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// How long another process may hold the lock. The work under it takes less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time between two attempts: `flock` has no time-out.
const INTERVAL: Duration = Duration::from_millis(2);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct StartLock {
    path: PathBuf,
    _file: File,
}

impl StartLock {
    /// Takes the lock of the socket at `socket`. Waits up to five seconds for another process that holds it.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if another process holds the lock for longer; another error if there can be no file beside
    /// the socket.
    pub(super) fn take(socket: &Path) -> io::Result<Self> {
        Self::take_within(socket, PATIENCE)
    }

    fn take_within(socket: &Path, patience: Duration) -> io::Result<Self> {
        let mut name = socket.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(".lock");
        let path = socket.with_file_name(name);
        let started = Instant::now();
        loop {
            let file = open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => return Ok(Self { path, _file: file }),
                // Its last holder has removed it: others lock the file that is there now.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => thread::sleep(INTERVAL),
                // Some file systems of networks know no locks: starts that do not meet are as safe as with one.
                Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS) => return Ok(Self { path, _file: file }),
                Err(error) => return Err(error.into()),
            }
            if started.elapsed() > patience {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
        }
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        // While it is still held: afterwards the file at this path may be another's. What stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// Nothing is ever written to it; a symbolic link is not followed to where others want a file.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (file.dev(), file.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_nothing_of_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("proxy.sock");
        let held = StartLock::take(&socket).unwrap();
        let refused = StartLock::take_within(&socket, Duration::from_millis(20)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        drop(held);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_was_left_behind_is_taken_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, lock) = (folder.path().join("proxy.sock"), folder.path().join("proxy.sock.lock"));
        fs::write(&lock, "").unwrap();
        drop(StartLock::take(&socket).unwrap());
        assert!(!lock.exists());
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &lock).unwrap();
        StartLock::take(&socket).unwrap_err();
        assert!(!folder.path().join("elsewhere").exists());
    }
}
