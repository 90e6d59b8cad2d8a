//! Calls that are written by hand, because the documentation gives none that the server carries out, or not those that
//! matter. They are in `examples/*.txt`, under the name of the command. The requests in one line, separated by ` ; `,
//! are one call.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

/// The examples of a command.
pub(super) fn of(command: &str) -> &'static [String] {
    all().get(command).map(Vec::as_slice).unwrap_or_default()
}

/// The examples by the name of the command.
pub(super) fn all() -> &'static BTreeMap<String, Vec<String>> {
    static ALL: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/examples");
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in folder.read_dir().expect("a folder") {
            let text = std::fs::read_to_string(entry.expect("a file").path()).expect("text");
            let mut lines = None;
            for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                match line.strip_prefix("== ") {
                    Some(name) => lines = Some(all.entry(name.to_owned()).or_default()),
                    None => lines.as_deref_mut().expect("a title before the first line").push(line.to_owned()),
                }
            }
        }
        all
    })
}
