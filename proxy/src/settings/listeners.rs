//! The certificate for clients that connect by TLS, which clients may connect, and the permissions of Unix sockets.

use std::path::PathBuf;

use clap::Args;

use super::address::ListenAddress;
use super::admin::AdminPort;
use super::tls::{ServerFiles, named};
use super::validation::Validation;
use super::values::{Values, format_path};

/// The permissions of a socket in place of a value that was rejected.
const SOCKET_MODE: u32 = 0o660;

/// The options of the sockets that clients connect to.
#[derive(Clone, Args)]
#[command(next_help_heading = "TLS and Unix sockets for clients")]
pub(crate) struct ListenerOptions {
    /// Certificate of rediss:// and https:// listen addresses, in PEM form, followed by the intermediate ones
    #[arg(long, value_name = "FILE")]
    listen_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM form
    #[arg(long, value_name = "FILE")]
    listen_key: Option<PathBuf>,

    /// Authorities, in PEM form, one of which must have issued a client's certificate (default: clients need none)
    #[arg(long, value_name = "FILE")]
    listen_client_ca: Option<PathBuf>,

    /// Permissions of the sockets of --listen unix:, --http unix: and --admin unix:, in octal
    #[arg(long, value_name = "MODE", default_value = "0660")]
    listen_socket_mode: String,
}

impl Validation<'_> {
    /// `addresses` are those of services.
    pub(super) fn listen_tls(
        &mut self,
        options: &ListenerOptions,
        addresses: &[&ListenAddress],
    ) -> Option<ServerFiles> {
        let (certificate, key) = (named(&options.listen_cert), named(&options.listen_key));
        let client_authorities = named(&options.listen_client_ca);
        if !addresses.iter().any(|address| matches!(address, ListenAddress::Tls(_))) {
            let given = [
                (ServerFiles::CERTIFICATE, certificate),
                (ServerFiles::KEY, key),
                (ServerFiles::CLIENT_AUTHORITIES, client_authorities),
            ];
            let given = given.map(|(setting, file)| (setting, file.map(|file| file.display().to_string())));
            let remedy = "listen on rediss://host:port or https://host:port, or leave it out";
            // If the routes were rejected, nothing is known of what they need.
            if !addresses.is_empty() {
                self.reject_unused(given, "no listen address is one with TLS", remedy);
            }
            return None;
        }
        let remedy = "name the PEM files that rediss:// and https:// listen addresses show to clients";
        if certificate.is_none() {
            self.reject(ServerFiles::CERTIFICATE, None, "it is missing", remedy);
        }
        if key.is_none() {
            self.reject(ServerFiles::KEY, None, "it is missing", remedy);
        }
        Some(ServerFiles { certificate: certificate?, key: key?, client_authorities })
    }

    pub(super) fn socket_mode(
        &mut self,
        options: &ListenerOptions,
        addresses: &[&ListenAddress],
        admin: &AdminPort,
    ) -> u32 {
        const FORM: &str = "write permissions in octal, as in 0660 or 0600";
        let text = options.listen_socket_mode.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(mode @ 1..=0o777) if digits => {
                let mut addresses = addresses.iter().copied().chain(&admin.address);
                if mode & 0o600 != 0o600 && addresses.any(|address| matches!(address, ListenAddress::Unix(_))) {
                    let problem = "it does not let the process's own user connect";
                    self.reject("--listen-socket-mode", Some(text), problem, FORM);
                }
                mode
            }
            _ => {
                self.reject("--listen-socket-mode", Some(text), "it cannot be permissions", FORM);
                SOCKET_MODE
            }
        }
    }
}

pub(super) fn effective(tls: Option<&ServerFiles>, socket_mode: u32) -> Values {
    vec![
        ("listen-cert", format_path(tls.map(|files| &files.certificate))),
        ("listen-key", format_path(tls.map(|files| &files.key))),
        ("listen-client-ca", format_path(tls.and_then(|files| files.client_authorities.as_ref()))),
        ("listen-socket-mode", format!("{socket_mode:04o}")),
    ]
}
