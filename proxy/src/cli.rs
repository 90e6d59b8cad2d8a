//! The command line as a whole: whether the program is to serve, to start a service behind it, to check its settings, to decode
//! a payload, to show transactions or what proxies do, or to describe itself to a shell or to `man`.

use std::ffi::OsString;
use std::io;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, value_parser};
use clap_complete::Shell;

use crate::decode::DecodeArgs;
use crate::launch::{Launch, LaunchError};
use crate::report_format::ReportFormat;
use crate::settings::{Invocation, Options, command_line};
use crate::top::TopArgs;
use crate::view::{self, ViewArgs};

const RUN: &str = "run";
const CHECK: &str = "check";
const DECODE: &str = "decode";
const VIEW: &str = "view";
const TOP: &str = "top";
const COMPLETIONS: &str = "completions";
const MAN: &str = "man";

/// The program's name, as it is called.
const PROGRAM: &str = "redistributed";

const ABOUT_CHECK: &str =
    "Tries everything that the settings name, and says in plain words what is not as it should be";

const ABOUT_RUN: &str = "Starts a service behind a proxy of its own, without a change to the service or its settings";

const LONG_ABOUT_RUN: &str = "\
The proxy listens on a free port of 127.0.0.1, forwards to the Redis that REDIS_URL names, and starts the service with \
REDIS_URL changed. The same is done for CELERY_BROKER_URL, CELERY_RESULT_BACKEND, for REDIS_HOST with REDIS_PORT, and for the \
variables of --env, where they are set and name a Redis. --upstream names the Redis if no variable does. The service is \
called after its program unless OTEL_SERVICE_NAME is set. All other options are those of the proxy; with --http, it stands in \
front of the service's HTTP port too, and with --view, a page shows the service's transactions as they happen.

Signals are passed on to the service. When it ends, the proxy exports the last spans and ends with the service's exit code.";

const AFTER_HELP_RUN: &str = "\
As in: redistributed run -- python app.py

Exit codes:
  0-255  the service's own; 128 plus the signal's number if a signal ended it
  1      the proxy has failed
  2      the settings or the variables cannot be used
  3      a listen address cannot be had
  126    the command cannot be executed
  127    the command is not there";

const LONG_ABOUT_CHECK: &str = "\
Takes the same options, variables and file as the proxy itself, but serves nothing: reaches every Redis and the \
collector, looks at the listen addresses, and tells which subscribers would see contexts. One finding a line: ok, note, \
warning or problem, with what to do. Shows no payload and no secret.

With --format json, the answer is one object on one line:
  {\"result\": \"warning\", \"findings\": [{\"level\": \"ok\", \"about\": \"redis://cache:6379\", \"text\": \"reached in \
0.41 ms\", \"remedy\": null}, ...]}
`result` is the worst level: ok, note, warning or problem. `about` is what the finding is about: an address, the collector \
or the settings. `remedy` is what to do, or null.";

const AFTER_HELP_CHECK: &str = "\
Exit codes:
  0    all is well, or there are only notes
  1    there are warnings: it works, but not as well as it could
  2    the settings cannot be used
  3    there are problems: something that the settings name does not work";

/// What is meant by who names a file or an address, without an option.
const TIP_DECODE: &str = "the payload is read from standard input, as in `redistributed decode < payload`";
const TIP_TOP: &str = "name admin ports by their option, as in `redistributed top --admin 127.0.0.1:9127`";

/// The command that the program was called with.
#[derive(Debug)]
pub enum Call {
    /// Serve, which is what the program does without a subcommand.
    Serve(Invocation),
    /// `run`, with the service to start.
    Run(Box<Launch>),
    /// `check`, with the settings to check and the `--format` of the answer.
    Check(Invocation, ReportFormat),
    /// `decode`, with its options.
    Decode(DecodeArgs),
    /// `view`, with its options.
    View(Box<ViewArgs>),
    /// `top`, with its options.
    Top(TopArgs),
    /// `completions`, for this shell.
    Completions(Shell),
    /// `man`, about the program or this command of it.
    Man(Option<String>),
}

impl Call {
    /// Reads the command from `words`, of which the first is the program's name. The settings are not read yet.
    ///
    /// # Errors
    /// The parser's error, which has to be printed and has an exit code; or what keeps `run` from starting the service.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, LaunchError> {
        let words: Vec<OsString> = words.into_iter().collect();
        let rest = || words.iter().skip(1).cloned();
        match words.get(1).and_then(|word| word.to_str()) {
            Some(RUN) => Ok(Self::Run(Box::new(Launch::read(run(), rest().collect())?))),
            Some(CHECK) => {
                let invocation = Invocation::new(check(), rest());
                let format = invocation.matches()?.get_one("format").copied().unwrap_or(ReportFormat::Text);
                Ok(Self::Check(invocation, format))
            }
            Some(DECODE) => {
                let matches = matches(DecodeArgs::command().name(DECODE), rest())
                    .map_err(|error| tip_for_word(error, TIP_DECODE))?;
                Ok(Self::Decode(DecodeArgs::from_arg_matches(&matches).map_err(command_line::redacted)?))
            }
            Some(VIEW) => {
                let matches = matches(ViewArgs::command().name(VIEW), rest())?;
                let args = ViewArgs::from_arg_matches(&matches).map_err(command_line::redacted)?;
                Ok(Self::View(Box::new(args)))
            }
            Some(TOP) => {
                let matches =
                    matches(TopArgs::command().name(TOP), rest()).map_err(|error| tip_for_word(error, TIP_TOP))?;
                Ok(Self::Top(TopArgs::from_arg_matches(&matches).map_err(command_line::redacted)?))
            }
            Some(COMPLETIONS) => {
                let matches = matches(completions(), rest())?;
                // The parser has seen to it that there is one.
                Ok(Self::Completions(matches.get_one("shell").copied().unwrap_or(Shell::Bash)))
            }
            Some(MAN) => Ok(Self::Man(matches(man(), rest())?.remove_one("command"))),
            _ => Ok(Self::Serve(Invocation::new(whole(), words))),
        }
    }
}

fn matches(command: Command, words: impl Iterator<Item = OsString>) -> Result<ArgMatches, clap::Error> {
    let bin_name = format!("{PROGRAM} {}", command.get_name());
    command.bin_name(bin_name).try_get_matches_from(words).map_err(command_line::redacted)
}

/// `error` with a `tip`, if a word that is no option was not expected.
fn tip_for_word(error: clap::Error, tip: &'static str) -> clap::Error {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if !word.starts_with('-') => command_line::with_tip(error, tip),
        _ => error,
    }
}

/// Writes the completions of a shell for the whole command line.
///
/// # Errors
/// Writing to `out` has failed.
pub fn write_completions(shell: Shell, out: &mut dyn io::Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole(), PROGRAM, &mut script);
    out.write_all(&script)
}

/// Writes the manual page of the program, or of one of its commands.
///
/// # Errors
/// Writing to `out` has failed.
pub fn write_man(command: Option<&str>, out: &mut dyn io::Write) -> io::Result<()> {
    let page = match command {
        // A page is found by its name, as in `man redistributed-check`.
        Some(RUN) => run().name("redistributed-run").bin_name("redistributed run"),
        Some(CHECK) => check().name("redistributed-check").bin_name("redistributed check"),
        Some(DECODE) => DecodeArgs::command().name("redistributed-decode").bin_name("redistributed decode"),
        Some(VIEW) => ViewArgs::command().name("redistributed-view").bin_name("redistributed view"),
        Some(TOP) => TopArgs::command().name("redistributed-top").bin_name("redistributed top"),
        // The others have no page of their own to lead to.
        _ => whole()
            .disable_help_subcommand(true)
            .mut_subcommand(COMPLETIONS, |it| it.hide(true))
            .mut_subcommand(MAN, |it| it.hide(true)),
    };
    clap_mangen::Man::new(page.version(env!("CARGO_PKG_VERSION"))).render(out)
}

/// The usage in place of the parser's, which would list all options.
const USAGE: &str = "\
redistributed --listen <ADDRESS> --upstream <URL> [OPTIONS]
       redistributed --route <NAME=LISTEN,UPSTREAM>... [OPTIONS]
       redistributed --config <FILE> [OPTIONS]
       redistributed run [OPTIONS] -- <COMMAND> [ARGUMENTS]...
       redistributed <COMMAND>";

/// The definition with the subcommands, so that help lists them.
fn whole() -> Command {
    let decode = DecodeArgs::command().name(DECODE);
    Options::command()
        .override_usage(USAGE)
        .args_conflicts_with_subcommands(true)
        .subcommand(run().name(RUN))
        .subcommand(check().name(CHECK))
        .subcommand(decode)
        .subcommand(ViewArgs::command().name(VIEW))
        .subcommand(TopArgs::command().name(TOP))
        .subcommand(completions())
        .subcommand(man())
}

fn completions() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    Command::new(COMPLETIONS)
        .about("Prints a script that completes the command line in a shell")
        .arg(shell.help("The shell that is to complete"))
        .after_help("As in: redistributed completions bash > ~/.local/share/bash-completion/completions/redistributed")
}

fn man() -> Command {
    let command = Arg::new("command").value_name("COMMAND").value_parser([RUN, CHECK, DECODE, VIEW, TOP]);
    Command::new(MAN)
        .about("Prints the manual page of the program, or of one of its commands, in the format of man")
        .arg(command.help("The command that the page is about (default: the program)"))
        .after_help("As in: redistributed man > redistributed.1")
}

fn run() -> Command {
    let variable = Arg::new("env").long("env").value_name("NAME").action(ArgAction::Append).help(
        "A further variable that names the service's Redis by a URL or by host:port, or two, as in HOST,PORT; repeatable",
    );
    let view = Arg::new("view")
        .long("view")
        .value_name("ADDRESS")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("127.0.0.1:0")
        .value_parser(view::page)
        .help("Show transactions as they happen on a web page, at a free port of 127.0.0.1 or at --view=ADDRESS");
    let command = Arg::new("command").value_name("COMMAND").value_parser(value_parser!(OsString));
    Options::command()
        .name("redistributed run")
        .bin_name("redistributed run")
        .override_usage("redistributed run [OPTIONS] -- <COMMAND> [ARGUMENTS]...")
        .about(ABOUT_RUN)
        .long_about(LONG_ABOUT_RUN)
        .after_help(AFTER_HELP_RUN)
        .after_long_help(AFTER_HELP_RUN)
        .mut_args(|arg| if arg.get_env().is_none() { arg.hide(true) } else { arg })
        .arg(variable)
        .arg(view)
        .arg(command.num_args(1..).last(true).required(true).help("The service, as it is started without a proxy"))
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
        // The name belongs to the answer here.
        .mut_arg("console_format", |arg| arg.visible_alias(None))
        .arg(format.value_parser(value_parser!(ReportFormat)).default_value("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        for command in [whole(), run(), check(), completions(), man()] {
            command.debug_assert();
        }
    }
}
