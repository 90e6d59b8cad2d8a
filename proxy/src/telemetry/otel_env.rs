use redistributed_core::session::Propagators;
use redistributed_core::trace::Sampler;

#[derive(Clone, Debug)]
pub struct OtelSettings {
    pub sampler: Sampler,
    pub enabled: bool,
    pub propagators: Propagators,
    pub service_name: Option<String>,
    pub warnings: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("otel")]
pub struct OtelError;

impl OtelSettings {
    pub fn from_env(lookup: &dyn Fn(&str) -> Option<String>) -> Result<OtelSettings, OtelError> {
        Ok(Self {
            sampler: Sampler::default(),
            enabled: lookup("OTEL_SDK_DISABLED").as_deref() != Some("true"),
            propagators: Propagators::default(),
            service_name: lookup("OTEL_SERVICE_NAME"),
            warnings: Vec::new(),
        })
    }
}
