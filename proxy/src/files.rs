//! Files that settings name, and values that are made from them and follow their changes.
//!
//! Certificates and passwords are replaced while the process runs: by cert-manager, by Vault, by a Kubernetes secret. So the
//! contents of the files are compared every few seconds. Their times and names are not trusted, because a mounted secret is
//! replaced by a symbolic link two folders above. New contents that cannot be used change nothing: the old value stays in force,
//! and the log says why.

use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redistributed_core::carrier::ContextKeys;

use crate::settings::credentials::Secret;
use crate::settings::redact::redact_path;

/// The longest password file, in bytes. A token of a cloud's identity service has a few thousand.
const MAX_SECRET: usize = 64 * 1024;

/// The error about a file that cannot be used, or about one that no setting names though it is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}{}: {problem}; {remedy}", .path.as_deref().map(|path| format!(" `{}`", redact_path(path))).unwrap_or_default())]
pub struct FileError {
    /// The option or the variable that names the file. Of a variable it is the general form, though the `_TRACES_` form may have
    /// named the file.
    pub setting: &'static str,
    /// The path of the file, if the error is about one.
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl FileError {
    /// An error about the file at `path`.
    pub(crate) fn new(setting: &'static str, path: &Path, problem: impl Into<String>, remedy: &'static str) -> Self {
        Self { setting, path: Some(path.to_owned()), problem: problem.into(), remedy }
    }

    /// An error about no single file.
    pub(crate) fn unset(setting: &'static str, problem: impl ToString, remedy: &'static str) -> Self {
        Self { setting, path: None, problem: problem.to_string(), remedy }
    }
}

/// Reads all bytes of a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|error| {
        let remedy = "name a file that this process may read, by its full path";
        FileError::new(setting, path, format!("it cannot be read: {error}"), remedy)
    })
}

/// Reads the password or the token in a file, without the end of its line.
///
/// # Errors
/// The file cannot be read, is empty, or holds more than one line.
pub(crate) fn secret(setting: &'static str, path: &Path) -> Result<Secret, FileError> {
    let refused = |problem: &str| {
        Err(FileError::new(setting, path, problem, "let it hold a password or a token on one line, and nothing else"))
    };
    let bytes = read(setting, path)?;
    if bytes.len() > MAX_SECRET {
        return refused("it is longer than a password or a token");
    }
    let Ok(text) = String::from_utf8(bytes) else { return refused("it is not UTF-8") };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return refused("it is empty");
    }
    if line.contains('\n') {
        return refused("it has several lines");
    }
    Ok(Secret::from(line.to_owned()))
}

/// The shortest key of contexts, in characters. As hexadecimal digits they are 128 bits.
const MIN_KEY: usize = 32;

/// The longest file with keys of contexts, in bytes.
const MAX_KEYS: usize = 16 * 1024;

/// Reads the keys of contexts in a file, one a line. Empty lines, and lines that begin with `#`, are no keys.
///
/// # Errors
/// The file cannot be read, holds no key or too many, or one that could be guessed.
pub(crate) fn context_keys(setting: &'static str, path: &Path) -> Result<ContextKeys, FileError> {
    let refused = |problem: &str| {
        let remedy = "write a key in each line, as from `openssl rand -hex 32`; the first signs, all are believed";
        Err(FileError::new(setting, path, problem, remedy))
    };
    let bytes = read(setting, path)?;
    if bytes.len() > MAX_KEYS {
        return refused("it is longer than a few keys");
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let keys: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect();
    if keys.is_empty() {
        return refused("it holds no key");
    }
    if keys.len() > ContextKeys::MAX {
        return refused(&format!("it holds {} keys, and more than {} are not looked at", keys.len(), ContextKeys::MAX));
    }
    if keys.iter().any(|key| key.len() < MIN_KEY) {
        return refused(&format!("it holds a key of less than {MIN_KEY} characters"));
    }
    Ok(ContextKeys::new(keys))
}

/// A value that is made from files, and made again when their contents have changed.
pub struct Rotating<T> {
    paths: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, FileError> + Send + Sync>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

/// The state of the files when they were last read.
struct Seen {
    fingerprint: u64,
    /// The reason why the contents could not be used. A certificate that is not valid yet becomes so without a change of the
    /// file, so failed contents are tried again.
    failure: Option<String>,
}

impl<T> Rotating<T> {
    /// Makes the value for the first time. `make` reads `paths`.
    ///
    /// # Errors
    /// The error that `make` returns.
    pub fn new(
        paths: Vec<PathBuf>,
        make: impl Fn() -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        // Before the files are read: if they change in between, they are read again.
        let seen = Mutex::new(Seen { fingerprint: fingerprint(&paths), failure: None });
        let current = RwLock::new(Arc::new(make()?));
        Ok(Self { paths, make: Box::new(make), current, seen })
    }

    /// The value in force.
    pub fn current(&self) -> Arc<T> {
        // A panic elsewhere does not make a pointer wrong.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the value again if a file has changed since it was last read, or could not be used then. It is `Some(Ok)` if
    /// another value is in force now, and `Some(Err)` if the files cannot be used and this has not been returned before. Blocks
    /// while it reads.
    pub fn refresh(&self) -> Option<Result<(), FileError>> {
        self.look().filter(|(_, is_news)| *is_news).map(|(outcome, _)| outcome)
    }

    /// As [`refresh`](Self::refresh), for an operator who has asked for it: an error that was returned before is returned
    /// again.
    pub fn refresh_on_request(&self) -> Option<Result<(), FileError>> {
        self.look().map(|(outcome, _)| outcome)
    }

    /// Reads the files if there is a reason to. Returns the outcome, and whether it is news.
    fn look(&self) -> Option<(Result<(), FileError>, bool)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = fingerprint(&self.paths);
        let is_changed = std::mem::replace(&mut seen.fingerprint, fingerprint) != fingerprint;
        if !is_changed && seen.failure.is_none() {
            return None;
        }
        Some(match (self.make)() {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                seen.failure = None;
                (Ok(()), true)
            }
            Err(error) => {
                let said = seen.failure.replace(error.to_string());
                let is_news = is_changed || said != seen.failure;
                (Err(error), is_news)
            }
        })
    }

    /// Whether the files could be used when they were last read.
    pub fn is_usable(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).failure.is_none()
    }

    /// The paths of the files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl<T> fmt::Debug for Rotating<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotating").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// A hash of the contents of all files. What can be read only once, such as a pipe, is not read.
fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        let contents = fs::metadata(path).and_then(|file| if file.is_file() { fs::read(path) } else { Ok(Vec::new()) });
        contents.map_err(|error| error.kind()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_follows_its_file_and_stays_when_the_file_cannot_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let write = |text: &str| fs::write(&path, text).unwrap();
        write("one\n");
        let made_of = path.clone();
        let password = Rotating::new(vec![path.clone()], move || secret("--file", &made_of)).unwrap();
        let current = || password.current().reveal().to_owned();
        assert_eq!((password.refresh(), current()), (None, "one".into()));
        write("two\r\n");
        assert_eq!((password.refresh(), current()), (Some(Ok(())), "two".into()));
        write("");
        let error = password.refresh().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "--file `{}`: it is empty; let it hold a password or a token on one line, and nothing else",
                path.display()
            )
        );
        assert_eq!((password.refresh(), current()), (None, "two".into()), "it is said once");
        assert!(password.refresh_on_request().is_some_and(|outcome| outcome.is_err()), "to who asks, each time");
        write("three\n# of the tracing user\n");
        assert!(password.refresh().unwrap().unwrap_err().problem.contains("several lines"));
        fs::remove_file(&path).unwrap();
        assert!(password.refresh().unwrap().unwrap_err().problem.contains("cannot be read"));
        write("two");
        assert_eq!((password.refresh(), current()), (Some(Ok(())), "two".into()));
    }

    #[test]
    fn a_file_of_keys_that_could_be_guessed_or_are_too_many_is_refused_without_showing_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let (one, other) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        for (text, says) in [
            ("", "holds no key"),
            ("# to come\n\n", "holds no key"),
            ("hunter2\n", "less than 32 characters"),
            (&format!("{one}\nhunter2"), "less than 32 characters"),
            (&format!("{one}\n").repeat(5), "holds 5 keys"),
            (&"x".repeat(20_000), "longer"),
        ] {
            fs::write(&path, text).unwrap();
            let error = context_keys("--context-key-file", &path).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hunter2") && !error.contains(one), "{error}");
        }
        fs::write(&path, format!("# new\r\n{one}\r\n\n  {other}")).unwrap();
        assert_eq!(format!("{:?}", context_keys("--context-key-file", &path).unwrap()), "ContextKeys(2)");
    }

    #[test]
    fn what_could_not_be_used_is_tried_again_and_the_reason_said_once() {
        use std::sync::atomic::{AtomicU8, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate");
        fs::write(&path, "old").unwrap();
        let (hour, made_of) = (Arc::new(AtomicU8::new(0)), path.clone());
        let now = Arc::clone(&hour);
        let valid_from_two = move || match now.load(Ordering::Relaxed) {
            1 => Err(FileError::new("--file", &made_of, "it is not valid yet", "wait")),
            hour => Ok(hour),
        };
        let certificate = Rotating::new(vec![path.clone()], valid_from_two).unwrap();
        hour.store(1, Ordering::Relaxed);
        assert_eq!(certificate.refresh(), None, "what is in force stays, whatever the hour");
        fs::write(&path, "new").unwrap();
        assert!(certificate.refresh().unwrap().is_err());
        assert_eq!((certificate.refresh(), *certificate.current()), (None, 0));
        hour.store(2, Ordering::Relaxed);
        assert_eq!((certificate.refresh(), *certificate.current()), (Some(Ok(())), 2));
        assert_eq!(certificate.refresh(), None);
    }

    #[test]
    fn a_file_behind_a_link_that_is_exchanged_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["old", "new"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("password"), name).unwrap();
        }
        std::os::unix::fs::symlink("old", at("data")).unwrap();
        let path = at("data").join("password");
        let made_of = path.clone();
        let password = Rotating::new(vec![path], move || secret("--file", &made_of)).unwrap();
        std::os::unix::fs::symlink("new", at("next")).unwrap();
        fs::rename(at("next"), at("data")).unwrap();
        assert_eq!(password.refresh(), Some(Ok(())));
        assert_eq!(password.current().reveal(), "new");
    }
}
