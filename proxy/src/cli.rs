//! The command line as a whole: whether the program is to serve, to check its settings, or to decode a payload.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory, FromArgMatches, value_parser};

use crate::decode::DecodeArgs;
use crate::report_format::ReportFormat;
use crate::settings::{Invocation, Options, command_line};

const CHECK: &str = "check";
const DECODE: &str = "decode";

const ABOUT_CHECK: &str =
    "Tries everything that the settings name, and says in plain words what is not as it should be";

const LONG_ABOUT_CHECK: &str = "\
Takes the same options, variables and file as the proxy itself, but serves nothing: reaches every Redis and the \
collector, looks at the listen addresses, and tells which subscribers would see contexts. One finding a line: ok, note, \
warning or problem, with what to do. Shows no payload and no secret.";

const AFTER_HELP_CHECK: &str = "\
Exit codes:
  0    all is well, or there are only notes
  1    there are warnings: it works, but not as well as it could
  2    the settings cannot be used
  3    there are problems: something that the settings name does not work";

/// The command that the program was called with.
#[derive(Debug)]
pub enum Call {
    /// Serve, which is what the program does without a subcommand.
    Serve(Invocation),
    /// `check`, with the settings to check and the `--format` of the answer.
    Check(Invocation, ReportFormat),
    /// `decode`, with its options.
    Decode(DecodeArgs),
}

impl Call {
    /// Reads the command from `words`, of which the first is the program's name. The settings are not read yet.
    ///
    /// # Errors
    /// The parser's error, which has to be printed and has an exit code.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        let rest = || words.iter().skip(1).cloned();
        match words.get(1).and_then(|word| word.to_str()) {
            Some(CHECK) => {
                let invocation = Invocation::new(check(), rest());
                let format = invocation.matches()?.get_one("format").copied().unwrap_or(ReportFormat::Text);
                Ok(Self::Check(invocation, format))
            }
            Some(DECODE) => {
                let command = DecodeArgs::command().bin_name("redistributed decode");
                let matches = command.try_get_matches_from(rest()).map_err(command_line::redacted)?;
                DecodeArgs::from_arg_matches(&matches).map(Self::Decode).map_err(command_line::redacted)
            }
            _ => Ok(Self::Serve(Invocation::new(whole(), words))),
        }
    }
}

/// The usage in place of the parser's, which would list all options.
const USAGE: &str = "\
redistributed --listen <ADDRESS> --upstream <URL> [OPTIONS]
       redistributed --route <NAME=LISTEN,UPSTREAM>... [OPTIONS]
       redistributed --config <FILE> [OPTIONS]
       redistributed <COMMAND>";

/// The definition with the subcommands, so that help lists them.
fn whole() -> Command {
    let decode = DecodeArgs::command().name(DECODE);
    Options::command()
        .override_usage(USAGE)
        .args_conflicts_with_subcommands(true)
        .subcommand(check().name(CHECK))
        .subcommand(decode)
}

fn check() -> Command {
    let format = Arg::new("format").long("format").value_name("FORMAT").help("Form of the answer");
    Options::command()
        .name("redistributed check")
        .bin_name("redistributed check")
        .override_usage("redistributed check [OPTIONS]")
        .about(ABOUT_CHECK)
        .long_about(LONG_ABOUT_CHECK)
        .after_help(AFTER_HELP_CHECK)
        .after_long_help(AFTER_HELP_CHECK)
        .mut_args(|arg| if arg.get_env().is_none() { arg.hide(true) } else { arg })
        .arg(format.value_parser(value_parser!(ReportFormat)).default_value("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        whole().debug_assert();
        check().debug_assert();
    }
}
