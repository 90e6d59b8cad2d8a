//! Where the admin port is, and who may do what there.

use std::path::PathBuf;

use clap::Args;
use redistributed_core::choice::choice;

use super::address::{AddressError, ListenAddress};
use super::choices::parser;
use super::tls::named;
use super::validation::Validation;
use super::values::{Values, format_path, or_none};

/// The options of the admin port.
#[derive(Clone, Args)]
#[command(next_help_heading = "Admin port")]
pub(crate) struct AdminOptions {
    /// Address for health, metrics, settings and the mode switch over HTTP: a port of 127.0.0.1, host:port, or unix:/path
    /// (default: none)
    #[arg(long, value_name = "[HOST:]PORT")]
    admin: Option<String>,

    /// Who may switch the mode, reload the settings and watch messages there, unless there is a token
    #[arg(long, value_parser = parser::<Control>(), default_value_t)]
    admin_control: Control,

    /// A file with a token; then whoever sends it as a bearer token may do that, and nobody else; read again when it changes
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
}

choice! {
    /// Who may switch the mode, reload the settings and watch messages: `--admin-control`.
    pub enum Control, default Local {
        /// Clients over loopback and on a Unix socket; all others may look at health, metrics and settings
        Local = "local",
        /// Every client that reaches the port
        All = "all",
    }
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AdminPort {
    /// Its address, if there is one: one of TCP, or the path of a Unix socket.
    pub address: Option<ListenAddress>,
    /// Who may do more there than look.
    pub control: Control,
    /// A file with the token of those who may, in place of `control`.
    pub token_file: Option<PathBuf>,
}

impl AdminPort {
    /// The option that names the file.
    pub const TOKEN_FILE: &'static str = "--admin-token-file";
}

impl Validation<'_> {
    /// Checks the options of the admin port. `taken` are the addresses of services.
    pub(super) fn admin(&mut self, options: &AdminOptions, taken: &[&ListenAddress]) -> AdminPort {
        let address = self.admin_address(options, taken);
        let token_file = named(&options.admin_token_file);
        if options.admin.as_deref().is_none_or(|text| text.trim().is_empty()) {
            let file = token_file.as_ref().map(|file| file.display().to_string());
            self.reject_unused(
                [(AdminPort::TOKEN_FILE, file)],
                "there is no admin port",
                "set --admin, or leave it out",
            );
        }
        AdminPort { address, control: options.admin_control, token_file }
    }

    fn admin_address(&mut self, options: &AdminOptions, taken: &[&ListenAddress]) -> Option<ListenAddress> {
        let text = options.admin.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
        let remedy = "write a port, as in --admin 9127, an address, as in --admin 0.0.0.0:9127, or unix:/path";
        let is_url = text.contains("://") && !text.starts_with("unix:");
        let parsed = if is_url { Err(AddressError::Url) } else { ListenAddress::parse(text) };
        let address = match parsed {
            Ok(address) => address,
            Err(problem) => {
                self.reject("--admin", Some(text), problem, remedy);
                return None;
            }
        };
        if taken.iter().any(|other| other.is_same_socket(&address)) {
            self.reject("--admin", Some(text), "a service connects there", "give it a port of its own");
        }
        Some(address)
    }
}

impl AdminPort {
    pub(super) fn effective(&self) -> Values {
        vec![
            ("admin", or_none(self.address.as_ref())),
            ("admin-control", self.control.to_string()),
            ("admin-token-file", format_path(self.token_file.as_ref())),
        ]
    }
}
