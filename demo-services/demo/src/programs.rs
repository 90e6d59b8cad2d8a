//! The programs that the demo starts. They are looked for before anything is started, so that what is missing is said at once.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::options::{Options, REDIS_SERVER};

/// Where the programs are. All paths are absolute, because processes run in a folder of their own.
pub(crate) struct Programs {
    pub(crate) sidecar: PathBuf,
    pub(crate) api: PathBuf,
    pub(crate) worker: PathBuf,
    pub(crate) redis: PathBuf,
    /// A Python, and the source that it is to run. A link stays a link, because a virtual environment is known by the path of its
    /// Python.
    pub(crate) python_worker: Option<(PathBuf, PathBuf)>,
}

impl Programs {
    /// Finds all of them.
    ///
    /// # Errors
    /// The first program that is not there.
    pub(crate) fn find(options: &Options) -> Result<Self, Failure> {
        let start = |cause| Failure::Start { name: "the demo's programs".to_owned(), cause };
        let own = std::env::current_exe().map_err(start)?;
        let folder = options.programs.as_deref().or(own.parent()).unwrap_or(Path::new("."));
        let find = |name: &str| {
            let program = std::path::absolute(folder.join(name)).map_err(start)?;
            if program.is_file() { Ok(program) } else { Err(Failure::Program(program)) }
        };
        let setting = |variable| move |reason| Failure::Setting { variable, reason };
        let redis = match executable(&options.redis_server) {
            Err(_) if options.redis_server == Path::new(REDIS_SERVER) => return Err(Failure::NoRedis),
            found => found.map_err(setting("--redis-server"))?,
        };
        let python_worker = match (&options.python, &options.python_worker) {
            (Some(python), Some(source)) => {
                let python = executable(python).map_err(setting("--python"))?;
                Some((python, file(source).map_err(setting("--python-worker"))?))
            }
            _ => None,
        };
        Ok(Self {
            sidecar: find("redistributed")?,
            api: find("demo-api")?,
            worker: find("demo-worker")?,
            redis,
            python_worker,
        })
    }
}

/// The path of `program`, which is looked for on `PATH` if it is a name only; or the reason why it cannot be started.
fn executable(program: &Path) -> Result<PathBuf, String> {
    let is_executable =
        |path: &Path| path.is_file() && path.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    if program.parent() == Some(Path::new("")) {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let mut found = std::env::split_paths(&folders).map(|folder| folder.join(program));
        let found = found.find(|path| is_executable(path));
        return found.ok_or_else(|| format!("there is no program {} on PATH", program.display()));
    }
    let path = file(program)?;
    if is_executable(&path) { Ok(path) } else { Err(format!("{} is not executable", path.display())) }
}

/// The absolute path of a file, or the reason why it is none.
fn file(path: &Path) -> Result<PathBuf, String> {
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    match absolute.metadata() {
        Ok(data) if data.is_file() => Ok(absolute),
        Ok(_) => Err(format!("{} is not a file", absolute.display())),
        Err(error) => Err(format!("{}: {error}", absolute.display())),
    }
}
