//! Who the spans come from: the service that the proxy stands for.

use std::fs;
use std::path::Path;

use opentelemetry_semantic_conventions::attribute as key;

use crate::settings::otel::OtelSettings;
use crate::telemetry::Service;
use crate::telemetry::describe::service_name;

/// What is known of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct Host {
    name: Option<String>,
    id: Option<String>,
}

impl Host {
    /// Looks at `root`, which is `/` but for tests.
    ///
    /// Jaeger compares clocks only between hosts that it can tell apart, so both are worth having. In a container the machine id is
    /// left out: it is the image's, and the same in containers on different machines.
    pub(in crate::telemetry) fn detect(root: &Path) -> Self {
        let read = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let in_container = [".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io"];
        let in_container = in_container.iter().any(|path| root.join(path).exists());
        let machine_id = || read("etc/machine-id").or_else(|| read("var/lib/dbus/machine-id"));
        Self { name: read("proc/sys/kernel/hostname"), id: if in_container { None } else { machine_id() } }
    }
}

/// The attributes of one route's resource. `OTEL_RESOURCE_ATTRIBUTES` wins over what was detected.
pub(in crate::telemetry) fn attributes(
    settings: &OtelSettings,
    service: &Service,
    host: &Host,
) -> Vec<(String, String)> {
    let version = env!("CARGO_PKG_VERSION");
    let detected = [
        (key::HOST_NAME, host.name.clone()),
        (key::HOST_ID, host.id.clone()),
        (key::SERVICE_INSTANCE_ID, new_instance_id()),
    ];
    let mut attributes: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: String| {
        attributes.retain(|(other, _)| other != name);
        attributes.push((name.to_owned(), value));
    };
    for (name, value) in detected {
        if let Some(value) = value {
            set(name, value);
        }
    }
    for (name, value) in &settings.resource_attributes {
        set(name, value.clone());
    }
    set(key::SERVICE_NAME, service_name(settings, service).to_owned());
    // The spans are made by the proxy itself and not by an OpenTelemetry SDK, whose name is reserved.
    set(key::TELEMETRY_SDK_NAME, env!("CARGO_PKG_NAME").to_owned());
    set(key::TELEMETRY_SDK_LANGUAGE, "rust".to_owned());
    set(key::TELEMETRY_SDK_VERSION, version.to_owned());
    set(key::TELEMETRY_DISTRO_NAME, env!("CARGO_PKG_NAME").to_owned());
    set(key::TELEMETRY_DISTRO_VERSION, version.to_owned());
    attributes
}

/// A random UUID; `None` if the system has no randomness to give.
fn new_instance_id() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn redis() -> Service {
        Service { name: None, server_address: "redis".to_owned(), server_port: Some(6379) }
    }

    fn value<'a>(attributes: &'a [(String, String)], key: &str) -> Option<&'a str> {
        let mut values = attributes.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{key} is there twice");
        value
    }

    #[test]
    fn the_machine_id_is_used_outside_containers_only() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Host::detect(root.path()), Host::default());
        write(root.path(), "proc/sys/kernel/hostname", "box\n");
        write(root.path(), "etc/machine-id", "abc\n");
        assert_eq!(Host::detect(root.path()), Host { name: Some("box".into()), id: Some("abc".into()) });
        write(root.path(), ".dockerenv", "");
        assert_eq!(Host::detect(root.path()), Host { name: Some("box".into()), id: None });
    }

    #[test]
    fn the_environment_wins_over_what_was_detected_but_not_over_the_service() {
        let settings = OtelSettings {
            service_name: Some("from-env".into()),
            resource_attributes: vec![("host.name".into(), "mine".into()), ("team".into(), "a b".into())],
            ..OtelSettings::default()
        };
        let host = Host { name: Some("box".into()), id: Some("abc".into()) };
        let all = attributes(&settings, &redis(), &host);
        assert_eq!(value(&all, "host.name"), Some("mine"));
        assert_eq!(value(&all, "host.id"), Some("abc"));
        assert_eq!(value(&all, "team"), Some("a b"));
        assert_eq!(value(&all, "service.name"), Some("from-env"));
        let named = Service { name: Some("route".into()), ..redis() };
        assert_eq!(value(&attributes(&settings, &named, &host), "service.name"), Some("route"));
    }

    #[test]
    fn each_route_is_an_instance_of_its_own() {
        let settings = OtelSettings::default();
        let id = || {
            let all = attributes(&settings, &redis(), &Host::default());
            value(&all, "service.instance.id").unwrap().to_owned()
        };
        let (one, two) = (id(), id());
        assert_ne!(one, two);
        assert_eq!(uuid::Uuid::parse_str(&one).unwrap().get_version_num(), 4);
    }
}
