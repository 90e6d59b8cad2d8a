//! Properties that hold for anything that an operator types. Each is a function, which panics if the property does not hold.
//!
//! The fuzz targets in `proxy/fuzz` call the functions with generated inputs. The tests below call them with the seeds of the
//! targets, so that `cargo test` runs every property too.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use crate::settings::MAX_INJECT_LIMIT;
use crate::settings::address::UpstreamUrl;
use crate::settings::command_line::split_list;
use crate::settings::file::ConfigFile;
use crate::settings::otel::OtelSettings;
use crate::settings::{Invocation, ListenAddress, Options, Settings, Upstream, effective, units};

/// The byte that stands for [`SECRET_URL`] in an input, because no mutation would find the URL.
const PLACEHOLDER: u8 = 1;
/// A URL that may be typed in any place by mistake, and that no error or warning may repeat.
const SECRET_URL: &[u8] = b"redis://user:hunter2@host";
const SECRET: &str = "hunter2";

/// Any command line and any `OTEL_*` variables are rejected with a message, or become settings that the program can run with.
/// Neither repeats a password. The input has an argument in each line and, after an empty line, a `NAME=value` in each line.
pub fn arguments(data: &[u8]) {
    if types_secret(data) {
        return;
    }
    let (words, variables) = input(data);
    for word in words.iter().filter_map(|word| word.to_str()) {
        values(word);
    }
    let lookup = |name: &str| value_of(&variables, name);
    let line = [OsString::from("redistributed")].into_iter().chain(words);
    let mut options = match Options::from_command_line(line) {
        Ok(options) => options,
        Err(error) => return assert_discreet(&error.to_string()),
    };
    judge(&options, &lookup);
    // The same as one value of a variable.
    let lists = [
        &mut options.routes.routes,
        &mut options.tracing.include,
        &mut options.tracing.exclude,
        &mut options.carriers.carriers,
        &mut options.carriers.stream_carriers,
        &mut options.carriers.envelopes,
        &mut options.tracing.modes,
        &mut options.carriers.read_json,
        &mut options.carriers.keep_context,
        &mut options.naming.templates,
        &mut options.naming.key_templates,
        &mut options.follow.queues,
    ];
    for list in lists {
        *list = split_list(&list.join(";")).map(Into::into).collect();
        assert!(list.iter().all(|member| !member.is_empty() && !member.contains([' ', '\t', ';'])));
    }
    judge(&options, &lookup);
}

/// Any configuration file is rejected with a message, or becomes settings that the program can run with. Neither repeats a
/// password, and the output of `--check-config` does not either. The input is the file.
pub fn configuration(data: &[u8]) {
    if shows_secret(&String::from_utf8_lossy(data)) {
        return;
    }
    let Ok(text) = String::from_utf8(with_secret(data)) else { return };
    let command = Options::command();
    let file = match ConfigFile::parse(&text, Path::new("f.toml"), &command) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.errors.is_empty());
            return assert_discreet(&error.to_string());
        }
    };
    // No file that is named in the input is opened, nor one that is not a file.
    if file.settings.iter().any(|setting| setting.name.ends_with("_FILE")) {
        return;
    }
    for setting in &file.settings {
        assert!(setting.values.iter().all(|value| value.position >= setting.position || !value.parts.is_empty()));
    }
    let invocation = Invocation::new(command, [OsString::from("redistributed")]);
    match invocation.with_file(Some(&file), &|_| None) {
        Ok(loaded) => {
            let lookup = |name: &str| {
                let value = file.get(name)?.values.first()?;
                Some(value.text.clone())
            };
            judge(&loaded.options, &lookup);
            loaded.settings.warnings.iter().for_each(|warning| assert_discreet(warning));
            assert_discreet(&effective::page(&loaded.settings, &loaded.sources));
        }
        Err(error) => assert_discreet(&error.to_string()),
    }
}

/// Any `OTEL_*` variables are rejected with a message, or become settings that the exporter can run with, and warnings. No
/// message repeats a password. The input has a `NAME=value` in each line.
pub fn environment(data: &[u8]) {
    if types_secret(data) {
        return;
    }
    let variables = pairs(data);
    match OtelSettings::from_lookup(&|name| value_of(&variables, name)) {
        Ok((settings, warnings)) => {
            warnings.iter().for_each(|warning| assert_discreet(&warning.to_string()));
            assert_usable(&settings);
        }
        Err(error) => assert_discreet(&error.to_string()),
    }
}

/// The notations of single values are total and bounded, and a value that is shown is read as the same value again.
fn values(text: &str) {
    if let Ok(url) = UpstreamUrl::parse(text) {
        let shown = url.upstream.to_string();
        let nobody = UpstreamUrl { username: None, password: None, database: 0, ..url };
        assert_eq!(UpstreamUrl::parse(&shown), Ok(nobody));
    }
    if let Ok(listen) = ListenAddress::parse(text) {
        assert_eq!(ListenAddress::parse(&listen.to_string()), Ok(listen));
    }
    if let Ok(duration) = units::duration(text) {
        assert!(duration <= Duration::from_secs(24 * 60 * 60));
        assert_eq!(units::duration(&units::format_duration(duration)), Ok(duration));
    }
    if let Ok(bytes) = units::bytes(text) {
        assert_eq!(units::bytes(&bytes.to_string()), Ok(bytes));
    }
}

fn judge(options: &Options, lookup: &dyn Fn(&str) -> Option<String>) {
    let settings = match Settings::new(options, lookup) {
        Ok(settings) => settings,
        Err(invalid) => {
            assert!(!invalid.errors.is_empty());
            return assert_discreet(&invalid.to_string());
        }
    };
    settings.warnings.iter().for_each(|warning| assert_discreet(warning));
    assert_usable(&settings.otel);
    assert!(!settings.routes.is_empty() || !settings.http.is_empty(), "something is served");
    for (index, route) in settings.routes.iter().enumerate() {
        if matches!(route.upstream, Upstream::Tcp(_)) {
            assert_discreet(&route.upstream.to_string());
        }
        assert_discreet(&format!("{:?}", route.login.password));
        let listen = route.listen.host_port();
        let taken = settings.routes.iter().skip(index + 1).any(|other| other.listen.host_port() == listen);
        assert!(!taken || listen.is_none_or(|listen| listen.port == 0), "two routes listen on {listen:?}");
    }
    assert!((1..=1_000_000).contains(&settings.limits.max_connections));
    assert!(settings.limits.connect_timeout > Duration::ZERO);
    assert!(settings.policy.inject_limit <= MAX_INJECT_LIMIT);
}

/// Checks what the exporter relies on.
fn assert_usable(settings: &OtelSettings) {
    assert!((1..=settings.batch.max_queue_size).contains(&settings.batch.max_export_batch_size));
    assert!(settings.batch.export_timeout != Some(Duration::ZERO), "0 is no limit");
    assert!(settings.service_name.as_deref() != Some(""));
    assert!(settings.enabled || settings.otlp.is_none() && settings.console.is_none());
    if let Some(otlp) = &settings.otlp {
        // A path may be anything; a query, where some vendors want a key, is never shown.
        assert!(!format!("{:?}{}", otlp.endpoint, otlp.endpoint).contains('?'));
        assert!(otlp.endpoint.url().starts_with(if otlp.endpoint.is_https() { "https://" } else { "http://" }));
    }
}

#[track_caller]
fn assert_discreet(message: &str) {
    assert!(!shows_secret(message), "a password is shown: {message}");
}

fn shows_secret(text: &str) -> bool {
    text.to_ascii_lowercase().contains(SECRET)
}

/// Whether the input itself holds [`SECRET`] without the URL around it. A fuzzer learns the word from the comparison, and such an
/// input proves nothing. Bytes between the letters that a terminal would not print do not count.
fn types_secret(data: &[u8]) -> bool {
    let printed: String =
        data.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|&byte| char::from(byte)).collect();
    shows_secret(&printed)
}

/// Splits an input into arguments and variables.
fn input(data: &[u8]) -> (Vec<OsString>, Vec<(String, String)>) {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (words, variables) = data.split_at(end);
    let words = words.split(|byte| *byte == b'\n').filter(|word| !word.is_empty());
    (words.map(|word| OsString::from_vec(with_secret(word))).collect(), pairs(variables))
}

/// The variables in the lines of `data`. Lines that are not text cannot reach the readers (see `settings::EnvironmentVariables`) and are
/// left out, and so are those without a `=`.
fn pairs(data: &[u8]) -> Vec<(String, String)> {
    let lines = data.split(|byte| *byte == b'\n').filter_map(|line| String::from_utf8(with_secret(line)).ok());
    lines.filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

fn value_of(variables: &[(String, String)], name: &str) -> Option<String> {
    variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn with_secret(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == PLACEHOLDER).collect::<Vec<_>>().join(SECRET_URL)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a property over the seeds of its fuzz target.
    fn over_seeds(target: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!seeds.is_empty(), "{target} has seeds");
        for seed in seeds {
            property(&std::fs::read(seed).unwrap());
        }
    }

    #[test]
    fn command_lines_are_refused_or_can_be_run() {
        over_seeds("arguments", arguments);
    }

    #[test]
    fn files_are_refused_or_can_be_run_with() {
        over_seeds("configuration", configuration);
    }

    #[test]
    fn variables_are_refused_or_can_be_exported_by() {
        over_seeds("environment", environment);
    }
}
