//! All certificates, keys and secrets in files that the settings name. They are read at the start, and again when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redistributed_core::carrier::ContextKeys;
use rustls::{ClientConfig, ServerConfig};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::files::{self, FileError, Rotating};
use crate::logging::LIFECYCLE;
use crate::net::tls;
use crate::settings::Upstream;
use crate::settings::credentials::Secret;
use crate::settings::otel::{Headers, HeadersFile, OtelSettings, OtlpSettings};
use crate::settings::tls::{ClientFileNames, ClientFiles, ServerFiles};
use crate::settings::{AdminPort, CONTEXT_KEY_FILE, Settings, UpstreamLogin, UpstreamTls, Verification};

/// The time between two looks at the files. It is short compared with the minute that a Kubernetes secret takes to arrive.
const INTERVAL: Duration = Duration::from_secs(10);

/// What the file of `--context-key-file` holds, in the words of the log.
const CONTEXT_KEYS: &str = "keys of contexts";

const CONNECTIONS: &str = "the next connections";
const EXPORTS: &str = "the next exports";

/// The contents of the files, ready to be used.
#[derive(Clone, Debug, Default)]
pub struct KeyMaterial {
    /// The TLS configuration of listeners that are `rediss://`, if there is such a listener.
    pub listen: Option<Arc<Rotating<ServerConfig>>>,
    /// The TLS configuration of upstreams that are `rediss://`, if there is such an upstream.
    pub upstream: Option<Arc<Rotating<ClientConfig>>>,
    /// The password in the file of `--upstream-password-file`.
    pub password: Option<Arc<Rotating<Secret>>>,
    /// The token in the file of `--admin-token-file`.
    pub admin_token: Option<Arc<Rotating<Secret>>>,
    /// The keys of contexts in the file of `--context-key-file`.
    context_keys: Option<Arc<Rotating<ContextKeys>>>,
    /// What the collectors' settings name.
    pub collectors: Collectors,
    expiries: Arc<Expiries>,
}

/// The time at which the certificates in a file that is in use expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The option or the variable that names the file.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Seconds since 1970. Of a certificate with those that vouch for it, it is the first that expires; of authorities, the last.
    pub seconds: u64,
}

/// The expiries of all files in use.
#[derive(Debug, Default)]
struct Expiries(Mutex<Vec<Expiry>>);

impl Expiries {
    /// Takes note that a file is in use whose certificates expire then.
    fn set(&self, setting: &'static str, path: &Path, seconds: Option<u64>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|expiry| expiry.setting != setting);
        all.extend(seconds.map(|seconds| Expiry { setting, path: path.to_owned(), seconds }));
    }

    fn of_certificate(&self, setting: &'static str, path: &Path) {
        self.set(setting, path, tls::first_expiry(setting, path));
    }

    fn of_authorities(&self, setting: &'static str, path: Option<&PathBuf>) {
        if let Some(path) = path {
            self.set(setting, path, tls::last_expiry(setting, path));
        }
    }

    fn all(&self) -> Vec<Expiry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the settings name of the collector for spans and of that for metrics, which may be the same.
#[derive(Clone, Debug, Default)]
pub struct Collectors {
    /// The material for the collector that takes spans.
    pub spans: CollectorMaterial,
    /// The material for the collector that takes metrics.
    pub metrics: CollectorMaterial,
}

impl Collectors {
    /// Reads the files.
    ///
    /// # Errors
    /// The error about the first file that cannot be used.
    pub fn read(settings: &OtelSettings) -> Result<Self, FileError> {
        let read = |otlp: Option<&OtlpSettings>| otlp.map(CollectorMaterial::read).transpose();
        let metrics = settings.metrics.as_ref().map(|metrics| &metrics.otlp);
        Ok(Self {
            spans: read(settings.otlp.as_ref())?.unwrap_or_default(),
            metrics: read(metrics)?.unwrap_or_default(),
        })
    }

    fn each(&self) -> [&CollectorMaterial; 2] {
        [&self.spans, &self.metrics]
    }
}

/// The contents of the files that the settings of one collector name.
#[derive(Clone, Debug, Default)]
pub struct CollectorMaterial {
    /// The TLS configuration, if its address begins with `https://`.
    pub tls: Option<Arc<Rotating<ClientConfig>>>,
    /// The headers, if they are in a file.
    pub headers: Option<Arc<Rotating<Headers>>>,
    expiries: Arc<Expiries>,
}

impl CollectorMaterial {
    /// Reads the files.
    ///
    /// # Errors
    /// The error about the first file that cannot be used.
    pub fn read(settings: &OtlpSettings) -> Result<Self, FileError> {
        const NAMES: ClientFileNames = ClientFileNames {
            authorities: "OTEL_EXPORTER_OTLP_CERTIFICATE",
            certificate: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            key: "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        };
        let expiries = Arc::<Expiries>::default();
        let identity = settings.client_identity.clone();
        let files = ClientFiles {
            authorities: settings.certificate.clone(),
            identity: identity.map(|identity| (identity.certificate, identity.key)),
        };
        let tls = settings.endpoint.is_https().then(|| client(files, NAMES, None, &expiries)).transpose()?;
        let headers = settings.headers_file.clone().map(|HeadersFile { variable, path }| {
            Rotating::new(vec![path.clone()], move || headers(variable, &path)).map(Arc::new)
        });
        Ok(Self { tls, headers: headers.transpose()?, expiries })
    }
}

/// The TLS configuration of a client, which follows its files. With `verification` it says for what certificates are checked.
fn client(
    files: ClientFiles,
    names: ClientFileNames,
    verification: Option<Verification>,
    expiries: &Arc<Expiries>,
) -> Result<Arc<Rotating<ClientConfig>>, FileError> {
    let (paths, expiries) = (files.paths(), Arc::clone(expiries));
    let make = move || {
        if let Some((certificate, _)) = &files.identity {
            tls::valid_now(names.certificate, certificate)?;
        }
        let config = match &verification {
            Some(verification) => tls::client_config_verifying(verification, &files, names),
            None => tls::client_config(&files, names),
        }?;
        if let Some((certificate, _)) = &files.identity {
            expiries.of_certificate(names.certificate, certificate);
        }
        expiries.of_authorities(names.authorities, files.authorities.as_ref());
        Ok(config)
    };
    Rotating::new(paths, make).map(Arc::new)
}

/// The headers in a file.
fn headers(setting: &'static str, path: &Path) -> Result<Headers, FileError> {
    let remedy = "let it hold what the variable without _FILE would: name=value, separated by commas";
    let refused = |problem: &str| FileError::new(setting, path, problem, remedy);
    let text = String::from_utf8(files::read(setting, path)?).map_err(|_| refused("it is not UTF-8"))?;
    let (headers, _) = Headers::from_text(text.trim());
    if headers.is_empty() { Err(refused("it holds no header that can be used")) } else { Ok(headers) }
}

impl KeyMaterial {
    /// Reads all files.
    ///
    /// # Errors
    /// The error about the first file that cannot be used.
    pub fn read(settings: &Settings) -> Result<Self, FileError> {
        let connects = settings.routes.iter().any(|route| matches!(route.upstream, Upstream::Tls(_)));
        let expiries = Arc::<Expiries>::default();
        let of_listener = Arc::clone(&expiries);
        let listen = settings.listen_tls.clone().map(|files| {
            let paths = files.paths();
            let make = move || {
                let config = tls::server_config(&files)?;
                of_listener.of_certificate(ServerFiles::CERTIFICATE, &files.certificate);
                of_listener.of_authorities(ServerFiles::CLIENT_AUTHORITIES, files.client_authorities.as_ref());
                Ok(config)
            };
            Rotating::new(paths, make).map(Arc::new)
        });
        let UpstreamTls { files, verification, .. } = settings.upstream_tls.clone();
        let upstream = connects.then(|| client(files, UpstreamTls::NAMES, Some(verification), &expiries));
        let secret = |setting, path: &Option<PathBuf>| {
            let path = path.clone()?;
            Some(Rotating::new(vec![path.clone()], move || files::secret(setting, &path)).map(Arc::new))
        };
        let password = secret(UpstreamLogin::PASSWORD_FILE, &settings.upstream_login.password_file);
        let admin_token = secret(AdminPort::TOKEN_FILE, &settings.admin.token_file);
        let context_keys = settings.context_key_file.clone().map(|path| {
            Rotating::new(vec![path.clone()], move || files::context_keys(CONTEXT_KEY_FILE, &path)).map(Arc::new)
        });
        Ok(Self {
            listen: listen.transpose()?,
            upstream: upstream.transpose()?,
            password: password.transpose()?,
            admin_token: admin_token.transpose()?,
            context_keys: context_keys.transpose()?,
            collectors: Collectors::read(&settings.otel)?,
            expiries,
        })
    }

    /// The keys of contexts in force; none if no file is named.
    pub fn context_keys(&self) -> ContextKeys {
        self.context_keys.as_deref().map(|keys| ContextKeys::clone(&keys.current())).unwrap_or_default()
    }

    /// Follows changes of the files until `stop` is cancelled, and calls `changed` after each. Open connections stay as they are;
    /// new ones use the new contents.
    pub async fn follow(self, stop: CancellationToken, changed: impl Fn(&Self)) {
        if self.is_empty() {
            return;
        }
        // They have just been read.
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let material = self.clone();
            // A file may be on a network.
            match tokio::task::spawn_blocking(move || material.refresh(false)).await {
                Ok(refreshed) if refreshed.is_empty() => {}
                Ok(_) => changed(&self),
                Err(_) => {
                    tracing::error!("the certificates, keys and secrets could not be read again, because of a defect")
                }
            }
        }
    }

    /// When the certificates in use expire, by the files that they came from.
    pub fn expiries(&self) -> Vec<Expiry> {
        let mut all = self.expiries.all();
        for expiry in self.collectors.each().into_iter().flat_map(|collector| collector.expiries.all()) {
            // Both collectors may have the same files.
            if !all.iter().any(|other| (other.setting, &other.path) == (expiry.setting, &expiry.path)) {
                all.push(expiry);
            }
        }
        all
    }

    /// Whether all files could be used when they were last read.
    pub fn is_usable(&self) -> bool {
        fn of<T>(one: &Option<Arc<Rotating<T>>>) -> bool {
            one.as_ref().is_none_or(|one| one.is_usable())
        }
        let of_collectors = self.collectors.each().iter().all(|one| of(&one.tls) && of(&one.headers));
        let of_redis = of(&self.listen) && of(&self.upstream) && of(&self.password);
        of_redis && of(&self.admin_token) && of(&self.context_keys) && of_collectors
    }

    /// Whether there is no file to follow.
    pub fn is_empty(&self) -> bool {
        fn of<T>(one: &Option<Arc<Rotating<T>>>) -> bool {
            one.as_ref().is_none_or(|one| one.paths().is_empty())
        }
        let of_collectors = self.collectors.each().iter().all(|one| of(&one.tls) && of(&one.headers));
        let of_redis = of(&self.listen) && of(&self.upstream) && of(&self.password);
        of_redis && of(&self.admin_token) && of(&self.context_keys) && of_collectors
    }

    /// Reads the files that have changed, and logs and returns the outcomes. An error that was logged before is left out,
    /// unless an operator has `asked`. Blocks while it reads.
    pub fn refresh(&self, asked: bool) -> Vec<Refreshed> {
        fn of<T>(one: &Option<Arc<Rotating<T>>>, asked: bool) -> Option<Result<(), FileError>> {
            let one = one.as_deref()?;
            if asked { one.refresh_on_request() } else { one.refresh() }
        }
        let all = [
            ("certificate for clients", CONNECTIONS, of(&self.listen, asked)),
            ("certificates for Redis", CONNECTIONS, of(&self.upstream, asked)),
            ("password for Redis", CONNECTIONS, of(&self.password, asked)),
            ("token of the admin port", "the next requests", of(&self.admin_token, asked)),
            (CONTEXT_KEYS, "the next message", of(&self.context_keys, asked)),
            ("certificates for the collector", EXPORTS, of(&self.collectors.spans.tls, asked)),
            ("headers for the collector", EXPORTS, of(&self.collectors.spans.headers, asked)),
            ("certificates for the collector of metrics", EXPORTS, of(&self.collectors.metrics.tls, asked)),
            ("headers for the collector of metrics", EXPORTS, of(&self.collectors.metrics.headers, asked)),
        ];
        let refreshed =
            all.into_iter().filter_map(|(what, used_by, outcome)| Some(Refreshed { what, used_by, outcome: outcome? }));
        refreshed.inspect(Refreshed::log).collect()
    }
}

/// The outcome of reading files again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// What the files hold, in the words of the log.
    pub what: &'static str,
    /// What uses the new contents, in the words of the log.
    pub used_by: &'static str,
    /// An error if the new contents cannot be used; then the old ones stay in force.
    pub outcome: Result<(), FileError>,
}

impl Refreshed {
    fn log(&self) {
        let Self { what, used_by, .. } = self;
        match &self.outcome {
            Ok(()) => tracing::info!(target: LIFECYCLE, "{what}: read again, for {used_by}"),
            Err(error) => tracing::warn!(%error, "{what}: changed and cannot be used; the old ones stay in force"),
        }
    }
}

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(()) => write!(f, "{}: read again, for {}", self.what, self.used_by),
            Err(error) => write!(f, "{}: the old ones stay in force, because of {error}", self.what),
        }
    }
}
