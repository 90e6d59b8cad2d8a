//! Recordings of services with known truth are played to the inference by the example `replay`, once as a sidecar that starts with the
//! service, and once as one that has run for a while. `proxy/docs/causes.md` describes the files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::score::{Bounds, Score};
use crate::failure::Failure;
use crate::options::Causes;

/// How much lower recall may be than that of the answers that are compared with.
const RECALL_LOST: f64 = 0.01;

/// What is true of a recording.
struct Truth {
    /// The causes of each command.
    causes: HashMap<u64, Vec<u64>>,
    publishes: Vec<u64>,
}

/// Plays all recordings of the folders, says how good the answers are, and holds them against `bounds`.
///
/// # Errors
/// If a recording cannot be played.
pub(super) fn check(options: &Causes, bounds: &mut Bounds, say: &impl Fn(&str)) -> Result<(), Failure> {
    let mut names = Vec::new();
    for folder in &options.recordings {
        names.extend(recordings(folder)?.into_iter().map(|name| (folder, name)));
    }
    let folder = tempfile::tempdir().map_err(Failure::Folder)?;
    for (when, warm) in [("recordings, cold", false), ("recordings, warm", true)] {
        say(&Score::heading(when));
        let mut totals = BTreeMap::<u32, Score>::new();
        let mut all = Score::default();
        for (from, name) in &names {
            let log = unpacked(from, &format!("{name}.log"), folder.path())?;
            let truth = Truth::read(from, name, &log, folder.path())?;
            let score = truth.judge(&replay(&options.replay, &log, warm)?);
            say(&score.row(name));
            all.add(&score);
            if let Some(at_once) = name.rsplit_once("-c").and_then(|(_, at_once)| at_once.parse().ok()) {
                totals.entry(at_once).or_default().add(&score);
            }
            bounds.hold(&format!("{name}, {when}"), &score, name.starts_with("timer"));
            if let Some(others) = options.against.as_ref().filter(|_| !warm) {
                let others = truth.judge(&lines(&others.join(format!("{name}.jsonl")))?);
                let (recall, other) = (score.recall(), others.recall());
                if recall < other - RECALL_LOST {
                    bounds.complain(name, &format!("recall {recall:.4}, and that of the others is {other:.4}"));
                }
            }
        }
        for (at_once, score) in totals {
            say(&score.row(&format!("all with {at_once} at once")));
        }
        say(&all.row("all"));
        bounds.hold_all(when, &all);
    }
    Ok(())
}

/// The names of the recordings in a folder, by scenario and load.
fn recordings(folder: &Path) -> Result<Vec<String>, Failure> {
    let failed = |cause| Failure::Read { path: folder.to_owned(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(".xz").unwrap_or(&name);
        names.extend(name.strip_suffix(".truth").map(str::to_owned));
    }
    names.sort_by_key(|name| {
        let (scenario, load) = name.rsplit_once("-c").unwrap_or((name, ""));
        (scenario.to_owned(), load.parse::<u32>().unwrap_or_default())
    });
    if names.is_empty() {
        return Err(Failure::Format {
            path: folder.to_owned(),
            what: "no file ends in .truth or .truth.xz".to_owned(),
        });
    }
    Ok(names)
}

/// A file of a folder, which may be compressed there.
fn unpacked(folder: &Path, name: &str, to: &Path) -> Result<PathBuf, Failure> {
    let plain = folder.join(name);
    if plain.exists() {
        return Ok(plain);
    }
    let (packed, path) = (folder.join(format!("{name}.xz")), to.join(name));
    if !path.exists() {
        let bytes = output(Command::new("xz").arg("-dc").arg(&packed), "xz")?;
        std::fs::write(&path, bytes).map_err(|cause| Failure::Write { path: path.clone(), cause })?;
    }
    Ok(path)
}

fn replay(program: &Path, log: &Path, warm: bool) -> Result<Vec<Value>, Failure> {
    let mut command = Command::new(program);
    if warm {
        command.arg("--warm");
    }
    let bytes = output(command.arg(log), "replay")?;
    parse(log, &String::from_utf8_lossy(&bytes))
}

fn output(command: &mut Command, name: &str) -> Result<Vec<u8>, Failure> {
    let output = command.output().map_err(|cause| Failure::Start { name: name.to_owned(), cause })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Failure::Died { name: name.to_owned(), said: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}

fn lines(path: &Path) -> Result<Vec<Value>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|cause| Failure::Read { path: path.to_owned(), cause })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Value>, Failure> {
    let line = |line: &str| {
        serde_json::from_str(line)
            .map_err(|error| Failure::Format { path: path.to_owned(), what: format!("{error} in {line}") })
    };
    text.lines().map(line).collect()
}

fn id(value: &Value) -> u64 {
    value["id"].as_u64().unwrap_or_default()
}

fn ids(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

impl Truth {
    fn read(folder: &Path, name: &str, log: &Path, to: &Path) -> Result<Self, Failure> {
        let truth = lines(&unpacked(folder, &format!("{name}.truth"), to)?)?;
        let is_publish =
            |event: &&Value| event["k"] == "cmd" && (event["name"] == "PUBLISH" || event["name"] == "SPUBLISH");
        Ok(Self {
            causes: truth.iter().map(|line| (id(line), ids(&line["p"]))).collect(),
            publishes: lines(log)?.iter().filter(is_publish).map(id).collect(),
        })
    }

    fn judge(&self, answers: &[Value]) -> Score {
        let mut score = Score::default();
        let mut in_the_end = HashMap::new();
        for answer in answers {
            let Some(causes) = self.causes.get(&id(answer)) else { continue };
            let late = !answer["late"].is_null();
            let right = answer["p"].as_u64().map(|cause| causes.contains(&cause));
            let is_publish = self.publishes.contains(&id(answer));
            if late {
                score.late_wrong += u32::from(right == Some(false));
                if !is_publish && let Some(right) = right {
                    in_the_end.insert(id(answer), right);
                }
                continue;
            }
            in_the_end.entry(id(answer)).or_insert(right == Some(true));
            score.named += u32::from(right.is_some());
            score.right += u32::from(right == Some(true));
            score.invented += u32::from(right == Some(false) && causes.is_empty());
            score.publishes_right += u32::from(right == Some(true) && is_publish);
            for link in ids(&answer["links"]) {
                score.links += 1;
                score.links_right += u32::from(causes.contains(&link));
            }
        }
        let caused = |id: &&u64| self.causes.get(*id).is_some_and(|causes| !causes.is_empty());
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        score.caused = count(self.causes.keys().filter(caused).count());
        score.publishes = count(self.publishes.iter().filter(caused).count());
        score.found = score.right;
        score.right_in_the_end = count(in_the_end.values().filter(|right| **right).count());
        score
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn truth() -> Truth {
        let causes = [(10, vec![1]), (11, vec![1, 2]), (12, vec![]), (13, vec![2]), (14, vec![1, 2])];
        Truth { causes: causes.into_iter().collect(), publishes: vec![13, 99] }
    }

    #[test]
    fn answers_are_held_against_the_truth() {
        let answers = [
            json!({"id": 10, "p": 1, "links": []}),
            json!({"id": 11, "p": 2}),
            json!({"id": 12, "p": 1}),
            json!({"id": 13, "p": null}),
            json!({"id": 14, "p": null, "links": [1, 3]}),
            json!({"id": 13, "p": 2, "late": 1}),
            json!({"id": 14, "p": 2, "late": 1}),
            json!({"id": 77, "p": 2}),
        ];
        let expected = Score {
            caused: 4,
            found: 2,
            named: 3,
            right: 2,
            invented: 1,
            publishes: 1,
            publishes_right: 0,
            right_in_the_end: 3,
            late_wrong: 0,
            links: 2,
            links_right: 1,
        };
        assert_eq!(truth().judge(&answers), expected);
    }

    #[test]
    fn what_is_not_answered_counts_against_recall_only() {
        let score = truth().judge(&[json!({"id": 10, "p": 1})]);
        assert_eq!((score.precision(), score.recall()), (1.0, 0.25));
        let mut all = score;
        all.add(&score);
        assert_eq!((all.caused, all.right), (8, 2));
    }

    #[test]
    fn recordings_are_found_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(recordings(folder.path()).is_err());
        for name in ["b-c10.truth.xz", "b-c9.truth", "a-c100.truth", "a-c100.log"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(recordings(folder.path()).unwrap(), ["a-c100", "b-c9", "b-c10"]);
    }
}
