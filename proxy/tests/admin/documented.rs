//! `proxy/docs/metrics.md` and the page of metrics tell of the same things.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::admin::Proxy;
use crate::support::listener::{TestListener, Transport, words};

const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// A metric's type and the names of its labels.
pub(super) type Metric = (String, BTreeSet<String>);

/// The metrics that the rows of the document's tables name.
pub(super) fn documented() -> BTreeMap<String, Metric> {
    let code = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut metrics = BTreeMap::new();
    for line in DOCUMENT.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind @ ("counter" | "gauge" | "histogram"), labels, meaning, _, _] = cells[..] else { continue };
        let [name] = &code(name)[..] else { panic!("{line}") };
        assert!(!meaning.is_empty(), "{line}");
        let labels = code(labels).into_iter().collect();
        assert!(metrics.insert(name.clone(), (kind.to_owned(), labels)).is_none(), "{name} is there twice");
    }
    metrics
}

/// The metrics on a page, and every value of a label that is not a name of a route or a file, or a version.
pub(super) fn shown(page: &str) -> (BTreeMap<String, Metric>, BTreeSet<String>) {
    let (mut metrics, mut values) = (BTreeMap::<String, Metric>::new(), BTreeSet::new());
    let mut current = String::new();
    for line in page.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            current = name.to_owned();
            assert!(metrics.insert(current.clone(), (kind.to_owned(), BTreeSet::new())).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            for (name, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
                if name != "le" {
                    metrics.get_mut(&current).unwrap().1.insert(name.to_owned());
                }
                if !["le", "route", "version", "build", "file"].contains(&name) {
                    values.insert(value.trim_matches('"').to_owned());
                }
            }
        }
    }
    (metrics, values)
}

#[tokio::test]
async fn every_metric_is_documented_with_its_type_its_labels_and_their_values() {
    // With certificates of all kinds.
    let listener = TestListener::new(Transport::Tls);
    let ca = listener.authority.file();
    let file = |name: &str| listener.path(name).display().to_string();
    let (certificate, key) = (file("proxy.pem"), file("proxy.key"));
    let upstream = ["--upstream-ca", &ca, "--upstream-cert", &certificate, "--upstream-key", &key];
    let more = [&["--listen-client-ca", &ca], &upstream[..]].concat();
    let arguments = listener.arguments("rediss://127.0.0.1:1", &more);
    let proxy = Proxy::with_routes(1, &words(&arguments), &[]);
    let (shown, values) = shown(&proxy.metrics().await);
    let documented = documented();
    assert!(documented.len() > 30, "the document's tables are not read");
    // Those of the semantic conventions have no sample yet.
    let is_ours = |name: &str| ["redistributed_", "process_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, metric) in shown.iter().filter(|(name, _)| is_ours(name)) {
        assert_eq!(documented.get(name), Some(metric), "{name}: the document has left, the page right");
    }
    for name in documented.keys() {
        assert!(shown.contains_key(name), "{name} is documented, and not on the page");
    }
    for value in &values {
        assert!(DOCUMENT.contains(&format!("`{value}`")), "no word about the label's value {value}");
    }
}
