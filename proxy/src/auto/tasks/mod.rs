//! The part of mode `auto` that talks to Redis. Each task has a connection of the proxy's own, and connects only when it has
//! something to do.

pub(super) mod announce;
pub(super) mod poll;
pub(super) mod tell;

use std::time::Duration;

use super::AutoMode;
use super::server_identity::{ServerIdentity, Watched};
use crate::redis::{Connection, Error, ProtocolError};

/// The longest wait for a reply from Redis. A snapshot that takes longer would be out of date.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a connection of the proxy's own, and asks which server it leads to.
async fn connect(mode: &AutoMode) -> Result<(Connection, ServerIdentity), Error> {
    let mut connection = Connection::open(&mode.dialer, mode.dialer.credentials().as_ref(), REPLY_TIMEOUT).await?;
    let info = connection.call(&[b"INFO", b"server"]).await?;
    let run_id = info.info_field("run_id").ok_or(ProtocolError::Unexpected)?.into();
    let peer = connection.peer();
    Ok((connection, ServerIdentity { peer, run_id }))
}

/// The same for a task on whose connection the decisions depend: records which server it leads to, or that there is none.
async fn connect_and_track(mode: &AutoMode) -> Result<(Connection, ServerIdentity, Watched), Error> {
    let attempt = mode.server.begin_attempt();
    let connected = async {
        let (connection, server) = connect(mode).await?;
        let watched = mode.server.watch(connection.hang_up()?);
        Ok((connection, server, watched))
    };
    let result = connected.await;
    match &result {
        Ok((_, server, _)) => mode.server.connected(server),
        Err(_) => {
            mode.cache.clear();
            mode.server.attempt_failed(&attempt);
        }
    }
    result
}
