//! What OpenTelemetry calls a resource: the entity that spans come from. Here it is the service that the proxy stands for.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use opentelemetry_semantic_conventions::attribute as key;

use crate::settings::otel::{OtelSettings, UNKNOWN_SERVICE};

/// A service as its spans name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    service_name: Arc<str>,
    attributes: Vec<(String, String)>,
}

/// What is known of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    name: Option<String>,
    id: Option<String>,
    /// The id of the running kernel, which its containers share and no other machine has. It is another one after a restart.
    boot_id: Option<String>,
}

/// The attributes by which an operator says himself which machine this is.
const HOSTS: [&str; 3] = [key::HOST_ID, key::HOST_IP, key::HOST_NAME];

impl Resource {
    /// The resource of the service `name`; without a name, `OTEL_SERVICE_NAME` counts. `OTEL_RESOURCE_ATTRIBUTES` wins over what
    /// is known of the host, and an empty value there leaves that out. Each call makes an instance with a `service.instance.id` of
    /// its own.
    pub fn of_service(name: Option<&str>, settings: &OtelSettings, host: &Host) -> Self {
        let service_name = service_name(name, settings);
        let version = env!("CARGO_PKG_VERSION");
        let detected = [
            (key::HOST_NAME, host.name.clone()),
            (key::HOST_ID, host.id_beside(&settings.resource_attributes)),
            (key::SERVICE_INSTANCE_ID, new_instance_id()),
        ];
        let is_left_out =
            |name: &str, value: &str| value.is_empty() && detected.iter().any(|(other, _)| *other == name);
        let mut attributes: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: String| {
            attributes.retain(|(other, _)| other != name);
            attributes.push((name.to_owned(), value));
        };
        for (name, value) in &detected {
            if let Some(value) = value {
                set(name, value.clone());
            }
        }
        for (name, value) in &settings.resource_attributes {
            set(name, value.clone());
        }
        set(key::SERVICE_NAME, service_name.to_owned());
        // The spans are made by the proxy itself and not by an OpenTelemetry SDK, whose name is reserved.
        set(key::TELEMETRY_SDK_NAME, env!("CARGO_PKG_NAME").to_owned());
        set(key::TELEMETRY_SDK_LANGUAGE, "rust".to_owned());
        set(key::TELEMETRY_SDK_VERSION, version.to_owned());
        set(key::TELEMETRY_DISTRO_NAME, env!("CARGO_PKG_NAME").to_owned());
        set(key::TELEMETRY_DISTRO_VERSION, version.to_owned());
        attributes.retain(|(name, value)| !is_left_out(name, value));
        Self { service_name: service_name.into(), attributes }
    }

    /// The attribute `service.name`.
    pub fn service_name(&self) -> &Arc<str> {
        &self.service_name
    }

    /// All attributes, each name once.
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }
}

impl Host {
    /// Reads the name of this machine, its id, and that of its kernel.
    ///
    /// A backend compares clocks only between hosts that it can tell apart. In a container the machine id is left out: it belongs
    /// to the image, and is the same in containers on different machines.
    pub fn detect() -> Self {
        Self::detect_in(Path::new("/"))
    }

    /// The same with another root of the file system.
    fn detect_in(root: &Path) -> Self {
        let read = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let in_container = [".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io"];
        let in_container = in_container.iter().any(|path| root.join(path).exists());
        let machine_id = || read("etc/machine-id").or_else(|| read("var/lib/dbus/machine-id"));
        Self {
            name: read("proc/sys/kernel/hostname"),
            id: if in_container { None } else { machine_id() },
            boot_id: read("proc/sys/kernel/random/boot_id"),
        }
    }

    /// The id to tell beside the operator's own attributes. Where the machine has none to show, as in a container, it is that of the
    /// kernel, so that containers of one machine are seen to share its clock. Jaeger looks at `host.id` before it looks at
    /// `host.ip` and `host.name`, so that of the kernel is not told beside any of these: it would hide what the operator says.
    fn id_beside(&self, attributes: &[(String, String)]) -> Option<String> {
        let is_named = || attributes.iter().any(|(name, _)| HOSTS.contains(&name.as_str()));
        self.id.clone().or_else(|| self.boot_id.clone().filter(|_| !is_named()))
    }
}

/// The name of a service: its own, or that of `OTEL_SERVICE_NAME`, or what the specification sets for a service that nobody
/// named.
pub fn service_name<'a>(name: Option<&'a str>, settings: &'a OtelSettings) -> &'a str {
    name.or(settings.service_name.as_deref()).unwrap_or(UNKNOWN_SERVICE)
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

    fn value<'a>(resource: &'a Resource, key: &str) -> Option<&'a str> {
        let mut values = resource.attributes.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{key} is there twice");
        value
    }

    #[test]
    fn the_machine_id_is_used_outside_containers_only() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Host::detect_in(root.path()), Host::default());
        write(root.path(), "proc/sys/kernel/hostname", "box\n");
        write(root.path(), "proc/sys/kernel/random/boot_id", "b-1\n");
        let (name, boot_id) = (Some("box".into()), Some("b-1".into()));
        let nameless = Host { name: name.clone(), id: None, boot_id: boot_id.clone() };
        assert_eq!(Host::detect_in(root.path()), nameless);
        write(root.path(), "etc/machine-id", "\n");
        assert_eq!(Host::detect_in(root.path()), nameless, "an image without an id has an empty file");
        write(root.path(), "etc/machine-id", "abc\n");
        assert_eq!(Host::detect_in(root.path()), Host { name, id: Some("abc".into()), boot_id });
        write(root.path(), ".dockerenv", "");
        assert_eq!(Host::detect_in(root.path()), nameless);
    }

    /// Containers of one machine share a clock, and say so, unless the operator says which machine it is.
    #[test]
    fn without_a_machine_id_the_kernels_is_told_unless_the_operator_names_the_host() {
        let told = |attributes: &[(&str, &str)], id: Option<&str>| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let resource_attributes = attributes.iter().map(owned).collect();
            let settings = OtelSettings { resource_attributes, ..OtelSettings::default() };
            let host = Host { name: Some("box".into()), id: id.map(str::to_owned), boot_id: Some("b-1".into()) };
            let resource = Resource::of_service(None, &settings, &host);
            ["host.id", "host.ip", "host.name"].map(|key| value(&resource, key).map(str::to_owned))
        };
        let expected = |values: [Option<&str>; 3]| values.map(|value| value.map(str::to_owned));
        assert_eq!(told(&[], None), expected([Some("b-1"), None, Some("box")]));
        assert_eq!(told(&[("team", "a")], None), expected([Some("b-1"), None, Some("box")]));
        assert_eq!(told(&[("host.id", "i-7")], None), expected([Some("i-7"), None, Some("box")]));
        assert_eq!(told(&[("host.ip", "10.0.0.7")], None), expected([None, Some("10.0.0.7"), Some("box")]));
        assert_eq!(told(&[("host.name", "node")], None), expected([None, None, Some("node")]));
        assert_eq!(told(&[("host.name", "node")], Some("abc")), expected([Some("abc"), None, Some("node")]));
        assert_eq!(told(&[("host.id", "")], None), expected([None, None, Some("box")]), "switched off");
        assert_eq!(told(&[("host.id", ""), ("host.name", "")], Some("abc")), expected([None; 3]), "switched off");
    }

    #[test]
    fn the_environment_wins_over_what_was_detected_but_not_over_the_service() {
        let settings = OtelSettings {
            service_name: Some("from-env".into()),
            resource_attributes: vec![("host.name".into(), "mine".into()), ("team".into(), "a b".into())],
            ..OtelSettings::default()
        };
        let host = Host { name: Some("box".into()), id: Some("abc".into()), boot_id: None };
        let unnamed = Resource::of_service(None, &settings, &host);
        assert_eq!(value(&unnamed, "host.name"), Some("mine"));
        assert_eq!(value(&unnamed, "host.id"), Some("abc"));
        assert_eq!(value(&unnamed, "team"), Some("a b"));
        assert_eq!(value(&unnamed, "service.name"), Some("from-env"));
        let named = Resource::of_service(Some("api"), &settings, &host);
        assert_eq!((value(&named, "service.name"), &**named.service_name()), (Some("api"), "api"));
        let unknown = Resource::of_service(None, &OtelSettings::default(), &host);
        assert_eq!(value(&unknown, "service.name"), Some(UNKNOWN_SERVICE));
    }

    #[test]
    fn each_service_is_an_instance_of_its_own() {
        let id = || {
            let resource = Resource::of_service(None, &OtelSettings::default(), &Host::default());
            value(&resource, "service.instance.id").unwrap().to_owned()
        };
        let (one, two) = (id(), id());
        assert_ne!(one, two);
        assert_eq!(uuid::Uuid::parse_str(&one).unwrap().get_version_num(), 4);
    }
}
