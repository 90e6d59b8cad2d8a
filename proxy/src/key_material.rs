//! All certificates, keys and passwords that the settings name in files, read at the start and followed from then on.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Upstream;
use crate::config::credentials::Secret;
use crate::config::settings::{Settings, UpstreamLogin, UpstreamTls};
use crate::files::{self, FileError, Rotating};
use crate::telemetry::logging::LIFECYCLE;
use crate::tls;

/// How often the files are looked at. A Kubernetes secret takes up to a minute to arrive, so this is little.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is in the files, in a form that is ready to be used.
#[derive(Clone, Debug, Default)]
pub struct KeyMaterial {
    /// For listeners that are `rediss://`; there is one if there is such a listener.
    pub listen: Option<Arc<Rotating<ServerConfig>>>,
    /// For upstreams that are `rediss://`; there is one if there is such an upstream.
    pub upstream: Option<Arc<Rotating<ClientConfig>>>,
    /// `--upstream-password-file`
    pub password: Option<Arc<Rotating<Secret>>>,
}

impl KeyMaterial {
    /// Reads all files.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn read(settings: &Settings) -> Result<Self, FileError> {
        let connects = settings.routes.iter().any(|route| matches!(route.upstream, Upstream::Tls(_)));
        let listen = settings
            .listen_tls
            .clone()
            .map(|files| Rotating::new(files.paths(), move || tls::server_config(&files)).map(Arc::new));
        let upstream = connects.then(|| settings.upstream_tls.files.clone()).map(|files| {
            let paths = files.paths();
            let make = move || {
                if let Some((certificate, _)) = &files.identity {
                    tls::valid_now(UpstreamTls::NAMES.certificate, certificate)?;
                }
                tls::client_config(&files, UpstreamTls::NAMES)
            };
            Rotating::new(paths, make).map(Arc::new)
        });
        let password = settings.upstream_login.password_file.clone().map(|path| {
            Rotating::new(vec![path.clone()], move || files::secret(UpstreamLogin::PASSWORD_FILE, &path)).map(Arc::new)
        });
        Ok(Self { listen: listen.transpose()?, upstream: upstream.transpose()?, password: password.transpose()? })
    }

    /// Reads the files again every few seconds and at `SIGHUP`, until `stop`. Connections that are open stay as they
    /// are; the next ones are made with what is in the files then.
    pub async fn follow(self, stop: CancellationToken) {
        if self.paths() == 0 {
            return;
        }
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hang_up = unix::signal(SignalKind::hangup()).ok();
        loop {
            let hung_up = async {
                match &mut hang_up {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                _ = hung_up => {}
            }
            let material = self.clone();
            // A file may be on a network.
            if tokio::task::spawn_blocking(move || material.refresh()).await.is_err() {
                tracing::error!("the certificates and passwords could not be read again, because of a defect");
            }
        }
    }

    fn paths(&self) -> usize {
        let listen = self.listen.as_ref().map_or(0, |one| one.paths().len());
        let upstream = self.upstream.as_ref().map_or(0, |one| one.paths().len());
        listen + upstream + self.password.as_ref().map_or(0, |one| one.paths().len())
    }

    fn refresh(&self) {
        report("certificate for clients", self.listen.as_deref().and_then(Rotating::refresh));
        report("certificates for Redis", self.upstream.as_deref().and_then(Rotating::refresh));
        report("password for Redis", self.password.as_deref().and_then(Rotating::refresh));
    }
}

fn report(what: &str, refreshed: Option<Result<(), FileError>>) {
    match refreshed {
        None => {}
        Some(Ok(())) => tracing::info!(target: LIFECYCLE, "{what}: read again, for the next connections"),
        Some(Err(error)) => {
            tracing::warn!(%error, "{what}: changed and cannot be used; the old ones stay in force");
        }
    }
}
