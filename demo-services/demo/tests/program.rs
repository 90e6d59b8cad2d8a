//! The demo program as a process, where things go wrong. That everything goes well is shown by running it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// A folder with programs of the names that the demo looks for, each of them this shell script.
fn programs(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["redistributed", "demo-api", "demo-worker"] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn demo(folder: &Path, more: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_demo"))
        .env_remove("KEEP")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env("TMPDIR", folder)
        .envs(environment.iter().copied())
        .arg("--programs")
        .arg(folder)
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn a_program_that_ends_is_named_and_its_log_is_shown() {
    let folder = programs("echo 'no room at the inn' >&2; exit 3");
    let output = demo(folder.path(), &[], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("sidecar-of-") && said.contains("ended by itself (exit status: 3)"), "{said}");
    assert!(said.contains("  | no room at the inn"), "{said}");

    // The logs are where it says, and its Redis, which was well, has ended in an orderly way.
    let (_, logs) = said.trim_end().rsplit_once("the logs of all programs are in ").unwrap();
    let redis = std::fs::read_to_string(Path::new(logs).join("redis.log")).unwrap();
    assert!(redis.contains("bye bye"), "{redis}");
}

/// Another program may take the port that was free a moment ago: then Redis ends at once.
#[test]
fn a_redis_that_ends_at_once_is_started_again_and_not_for_ever() {
    let folder = programs("echo 'no room at the inn' >&2; exit 3");
    let server = folder.path().join("server");
    for (starts_that_fail, last) in [(2, "sidecar-of-"), (100, "redis")] {
        let script = format!(
            "#!/bin/sh\necho >> $0.starts\n[ $(wc -l < $0.starts) -gt {starts_that_fail} ] || exit 1\nexec redis-server \"$@\"\n"
        );
        std::fs::write(&server, script).unwrap();
        std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = demo(folder.path(), &["--redis-server", server.to_str().unwrap()], &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let ended = said.lines().find(|line| line.contains("ended by itself")).unwrap_or(&said);
        assert!(ended.contains(last), "{said}");
        let starts = std::fs::read_to_string(folder.path().join("server.starts")).unwrap();
        assert_eq!(starts.lines().count(), if last == "redis" { 5 } else { starts_that_fail + 1 });
        std::fs::remove_file(folder.path().join("server.starts")).unwrap();
    }
}

#[test]
fn what_cannot_work_is_said_before_anything_is_started() {
    let folder = programs("exit 0");
    let output = demo(folder.path(), &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "jaeger:4317")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used"));

    std::fs::remove_file(folder.path().join("demo-worker")).unwrap();
    let output = demo(folder.path(), &[], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("demo-worker is missing"));
}

#[test]
fn a_program_that_cannot_be_started_is_said_with_its_option_before_anything_is_started() {
    let folder = programs("exit 0");
    let named = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (missing, source, directory) = (named("missing"), named("worker.py"), named("."));
    std::fs::write(&source, "").unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["--redis-server", &missing], "--redis-server cannot be used: "),
        (&["--redis-server", &directory], "is not a file"),
        (&["--redis-server", &source], "is not executable"),
        (&["--redis-server", "no-such-server"], "there is no program no-such-server on PATH"),
        (&["--python", &missing, "--python-worker", &source], "--python cannot be used: "),
        (&["--python", "sh", "--python-worker", &missing], "--python-worker cannot be used: "),
    ];
    for (arguments, text) in cases {
        let output = demo(folder.path(), arguments, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {said}");
        assert!(said.contains(text) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
    let output = demo(folder.path(), &[], &[("PATH", folder.path().to_str().unwrap())]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("no redis-server on PATH") && said.contains("--redis-server FILE"), "{said}");
}

/// `cat` waits for the end of its input, which does not come: only the kernel can end it here.
#[cfg(target_os = "linux")]
#[test]
fn a_child_does_not_outlive_the_thread_that_started_it() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    let start = || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(["launch", &std::process::id().to_string(), "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its echo shows that it has become `cat`.
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        std::io::Write::write_all(&mut input, b"x").unwrap();
        std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
        (child, input)
    };
    let (mut child, _input) = std::thread::spawn(start).join().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_whose_parent_has_gone_does_not_start() {
    // No process has this id: it is over the kernel's limit of 2^22.
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).args(["launch", "4194305", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("it has ended already"));
}
