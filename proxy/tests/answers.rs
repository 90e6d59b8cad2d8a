//! What the program answers on standard output, to people and to other programs, and what becomes of it where that is closed.

use std::process::Stdio;

use crate::support::spawn::{command, run};

#[test]
fn completions_and_manual_pages_are_made_for_every_shell_and_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = run(command(&["completions", shell]));
        let names_all = ["redistributed", "upstream-verify", "decode"].iter().all(|name| ended.stdout.contains(name));
        assert!(ended.code == Some(0) && names_all, "{shell}: {}{}", ended.stdout, ended.stderr);
    }
    for (arguments, texts) in [
        (&["man"][..], [".TH redistributed", "upstream", "REDISTRIBUTED_LISTEN"]),
        (&["man", "run"], [".TH redistributed-run", "REDIS_URL", "Exit codes"]),
        (&["man", "check"], [".TH redistributed-check", "findings", "Exit codes"]),
        (&["man", "decode"], [".TH redistributed-decode", "strip", "Exit codes"]),
        (&["man", "view"], [".TH redistributed-view", "memory", "Exit codes"]),
        (&["man", "top"], [".TH redistributed-top", "interval", "Exit codes"]),
    ] {
        let ended = run(command(arguments));
        let page = ended.stdout.replace('\\', "");
        let has_all = texts.iter().all(|text| page.contains(text));
        assert!(ended.code == Some(0) && has_all, "{arguments:?}: {page}{}", ended.stderr);
        assert!(
            ["man", "completions", "help"].iter().all(|name| !page.contains(&format!("redistributed-{name}"))),
            "there are no such pages"
        );
    }
    for wrong in [&["completions"][..], &["completions", "tcsh"], &["man", "serve"]] {
        let ended = run(command(wrong));
        assert!(ended.code == Some(2) && ended.stderr.contains("--help"), "{wrong:?}: {}", ended.stderr);
    }
}

/// The end of the command, whose standard output is `to`.
fn writing_to(to: impl Into<Stdio>, arguments: &[&str]) -> std::process::Output {
    command(arguments).stdout(to).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn who_has_read_enough_of_an_answer_gets_no_error() {
    for (arguments, code) in [
        (&["man"][..], 0),
        (&["completions", "bash"], 0),
        (&["--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1", "--check-config"], 0),
        (&["check", "--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"], 3),
        (&["top", "--once", "--interval", "100ms", "--admin", "127.0.0.1:1"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = writing_to(writer, arguments);
        assert_eq!(
            (output.status.code(), &*String::from_utf8_lossy(&output.stderr)),
            (Some(code), ""),
            "{arguments:?}"
        );
    }
}

/// Every write to `/dev/full` fails as on a disk without room.
#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_said() {
    for (arguments, code) in [
        (&["man"][..], 1),
        (&["--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1", "--check-config"], 1),
        (&["check", "--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"], 3),
    ] {
        let output = writing_to(std::fs::File::create("/dev/full").unwrap(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(
            said.starts_with("redistributed: cannot write to standard output: No space left"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn the_help_of_check_describes_its_json() {
    let help = run(command(&["check", "--help"])).stdout;
    for name in ["\"result\"", "\"findings\"", "\"level\"", "\"about\"", "\"text\"", "\"remedy\""] {
        assert!(help.contains(name), "{name} is not in\n{help}");
    }
}
