//! The file of a Unix socket.
//!
//! A process that was killed leaves its file behind, and the path could not be bound again. Connecting to it shows whether a
//! process listens there: a file on which no process accepts is replaced, one that is in use is not. Processes that start at
//! the same time take turns ([`StartLock`]). The file is removed with the listener, unless another process has put its own
//! there.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::start_lock::StartLock;
use super::{BACKLOG, BindError};

/// A socket's file; dropping this removes it. It must be dropped before its socket: a file whose socket is closed counts as
/// left behind, and only while the socket is open can no other file have the same identity.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Listens at `path`, with permissions `mode`.
///
/// # Errors
/// [`BindError`]: a process listens there, or no socket can be created there.
pub(super) fn bind(setting: &'static str, path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), BindError> {
    let bound = listen(path, mode).and_then(|(socket, file)| {
        socket.set_nonblocking(true)?;
        Ok((UnixListener::from_std(OwnedFd::from(socket).into())?, file))
    });
    bound.map_err(|source| BindError::unix(setting, path, source))
}

fn listen(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path)?;
    // Before the lock is taken, so that a process that may not write to the folder is also told that the path is in use.
    is_stale(path, &address)?;
    let _alone = StartLock::take(path)?;
    if is_stale(path, &address)? {
        fs::remove_file(path)?;
    }
    let socket = with_permissions(Socket::new(Domain::UNIX, Type::STREAM, None)?, mode)?;
    socket.bind(&address)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    // What the process's umask has taken away.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG.cast_signed())?;
    Ok((socket, file))
}

/// Sets the permissions before the file exists. On Linux the file gets those of the socket, less the umask, so that there is no
/// moment at which more users may connect than should. Elsewhere this has no effect, and the umask covers that moment.
fn with_permissions(socket: Socket, mode: u32) -> io::Result<Socket> {
    let file = File::from(OwnedFd::from(socket));
    let _ = file.set_permissions(Permissions::from_mode(mode));
    Ok(Socket::from(OwnedFd::from(file)))
}

/// Whether a process that has ended left a socket there. It is an error if a process listens there, or if the file is not a
/// socket.
fn is_stale(path: &Path, address: &SockAddr) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        // Binding will say what else is wrong.
        Err(_) => return Ok(false),
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // It was accepted, or waits to be: somebody is there.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Whoever cannot remove it leaves what the next start replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: Result<(UnixListener, SocketFile), BindError>) -> io::ErrorKind {
        result.map(drop).unwrap_err().source.kind()
    }

    #[tokio::test]
    async fn a_file_in_use_is_refused_and_one_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        let first = bind("--listen", &path, 0o600).unwrap();
        assert_eq!(kind(bind("--listen", &path, 0o600)), io::ErrorKind::AddrInUse);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "the one in use is left alone");

        let (listener, file) = first;
        // As a process does that is killed.
        std::mem::forget(file);
        drop(listener);
        assert!(path.exists());
        let (_listener, file) = bind("--listen", &path, 0o600).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_file_has_the_permissions_that_are_set() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o660, 0o777] {
            let path = folder.path().join(format!("{mode:o}.sock"));
            let _bound = bind("--listen", &path, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
        }
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone_and_a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "keep").unwrap();
        assert_eq!(kind(bind("--listen", &path, 0o600)), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep");
        assert_eq!(kind(bind("--listen", &folder.path().join("a/b.sock"), 0o600)), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_file_that_another_process_has_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        let (_listener, file) = bind("--listen", &path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = bind("--listen", &path, 0o600).unwrap();
        drop(file);
        assert!(path.exists());
    }
    #[test]
    fn of_many_that_start_at_once_one_listens_and_the_others_are_told() {
        const STARTS: usize = 8;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        for round in 0..200 {
            if round % 2 == 1 {
                // As a process leaves it that is killed.
                drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            }
            let together = std::sync::Barrier::new(STARTS);
            let start = || {
                together.wait();
                listen(&path, 0o600)
            };
            let ended: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..STARTS).map(|_| scope.spawn(start)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let (listening, refused): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
            assert_eq!(listening.len(), 1, "round {round}");
            for refusal in refused {
                assert_eq!(refusal.unwrap_err().kind(), io::ErrorKind::AddrInUse, "round {round}");
            }
            assert!(
                std::os::unix::net::UnixStream::connect(&path).is_ok(),
                "round {round}: it is the one that is reached"
            );
            for (socket, file) in listening.into_iter().flatten() {
                drop(file);
                drop(socket);
            }
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "round {round}: nothing is left");
        }
    }
}
