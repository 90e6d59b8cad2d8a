//! Where the admin port is, and who may do what there.

use clap::Args;
use redistributed_core::choice::choice;

use super::address::HostPort;
use super::choices::parser;
use super::routes::Route;
use super::validation::Validation;
use super::values::{Values, or_none};

/// The options of the admin port.
#[derive(Clone, Args)]
#[command(next_help_heading = "Admin port")]
pub(crate) struct AdminOptions {
    /// Address for health, metrics, settings and the mode switch over HTTP; without a host on 127.0.0.1 (default: none)
    #[arg(long, value_name = "[HOST:]PORT")]
    admin: Option<String>,

    /// Who may switch the mode, reload the settings and watch messages there
    #[arg(long, value_parser = parser::<Control>(), default_value_t)]
    admin_control: Control,
}

choice! {
    /// Who may switch the mode, reload the settings and watch messages: `--admin-control`.
    pub enum Control, default Local {
        /// Clients over loopback; all others may look at health, metrics and settings
        Local = "local",
        /// Every client that reaches the port
        All = "all",
    }
}

impl Validation<'_> {
    /// The address of the admin port, if there is to be one, and who may do more there than look.
    pub(super) fn admin(&mut self, options: &AdminOptions, routes: &[Route]) -> (Option<HostPort>, Control) {
        (self.admin_address(options, routes), options.admin_control)
    }

    fn admin_address(&mut self, options: &AdminOptions, routes: &[Route]) -> Option<HostPort> {
        let text = options.admin.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
        let remedy = "write a port, as in --admin 9127, or an address, as in --admin 0.0.0.0:9127";
        let address = match HostPort::parse_local(text) {
            Ok(address) => address,
            Err(problem) => {
                self.reject("--admin", Some(text), problem, remedy);
                return None;
            }
        };
        if address.port != 0 && routes.iter().any(|route| route.listen.host_port() == Some(&address)) {
            self.reject("--admin", Some(text), "a service connects there", "give it a port of its own");
        }
        Some(address)
    }
}

pub(super) fn effective(address: Option<&HostPort>, control: Control) -> Values {
    vec![("admin", or_none(address)), ("admin-control", control.to_string())]
}
