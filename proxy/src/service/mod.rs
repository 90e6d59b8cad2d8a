//! Services, each with everything that its connections share.
//!
//! A service is what a person calls one. Where its clients connect is an [`endpoint`](crate::endpoint), of which it may have
//! several: one for each Redis, say. What happens on one connection and concerns another one of the same service belongs here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redistributed_core::carrier::ContextKeys;
use redistributed_core::policy::Policy;

use crate::entropy::secret_key;
use crate::follow::{Follow, Writers};
use crate::live_policy::LivePolicy;
use crate::settings::modes::Modes;
use crate::settings::otel::OtelSettings;
use crate::settings::{FollowSettings, Settings};
use crate::telemetry::stats::Stats;
use crate::telemetry::{Host, Resource, service_name};

/// One service, and what its connections share.
#[derive(Debug)]
pub struct Service {
    /// The service as its spans name it.
    pub resource: Arc<Resource>,
    /// The policy that its connections follow.
    pub policy: Arc<LivePolicy>,
    /// The counters and times of its connections.
    pub stats: Arc<Stats>,
    /// What its connections know together of causes.
    pub follow: Arc<Follow>,
}

/// All services of the process, and the switch for their modes.
///
/// All services follow the same policy today. Each has its own handle to it, so that this is the only place that knows.
#[derive(Debug)]
pub struct Services {
    otel: OtelSettings,
    follow: FollowSettings,
    /// Who has written what, in all services.
    writers: Option<Arc<Writers>>,
    host: Host,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    services: Vec<Arc<Service>>,
    /// The policy that the settings describe.
    configured: Arc<Policy>,
    /// Modes in place of those of `configured`, until they are restored.
    switched: Option<Modes>,
    /// The keys of contexts, which are in a file of their own.
    keys: ContextKeys,
}

impl Service {
    /// A service with no connections. `writers` is what all services know of who wrote what, if reads are linked to it.
    pub fn new(
        resource: Resource,
        policy: Arc<Policy>,
        follow: FollowSettings,
        writers: Option<Arc<Writers>>,
    ) -> Arc<Self> {
        let policy = LivePolicy::new(policy);
        let follow = Follow::new(Arc::clone(&policy), secret_key(), follow, writers);
        Arc::new(Self { resource: Arc::new(resource), policy, stats: Arc::default(), follow })
    }

    /// Its name: `service.name` of its spans, and `route` of its metrics.
    pub fn name(&self) -> &Arc<str> {
        self.resource.service_name()
    }
}

impl Services {
    /// No services yet. Those to come follow the policy and have the resource attributes that `settings` describe.
    pub fn new(settings: &Settings) -> Arc<Self> {
        let state = State {
            services: Vec::new(),
            configured: Arc::clone(&settings.policy),
            switched: None,
            keys: ContextKeys::default(),
        };
        let (otel, follow) = (settings.otel.clone(), settings.follow);
        let writers = follow.links_writers.then(Arc::default);
        Arc::new(Self { otel, follow, writers, host: Host::detect(), state: Mutex::new(state) })
    }

    /// The service of that name, which is added if there is none. Without a name, `OTEL_SERVICE_NAME` counts.
    pub fn get(&self, name: Option<&str>) -> Arc<Service> {
        let mut state = self.state();
        let full_name = service_name(name, &self.otel);
        if let Some(service) = state.services.iter().find(|service| **service.name() == *full_name) {
            return Arc::clone(service);
        }
        let resource = Resource::of_service(name, &self.otel, &self.host);
        let service = Service::new(resource, state.in_force(), self.follow, self.writers.clone());
        state.services.push(Arc::clone(&service));
        service
    }

    /// All services, in the order in which they were added.
    pub fn all(&self) -> Vec<Arc<Service>> {
        self.state().services.clone()
    }

    /// The sums of what all services have counted and timed.
    pub fn total(&self) -> Stats {
        let total = Stats::default();
        self.all().iter().for_each(|service| total.merge(&service.stats));
        total
    }

    /// The policy that the settings describe.
    pub fn configured(&self) -> Arc<Policy> {
        Arc::clone(&self.state().configured)
    }

    /// The policy in force.
    pub fn in_force(&self) -> Arc<Policy> {
        self.state().in_force()
    }

    /// The modes in force.
    pub fn modes(&self) -> Modes {
        let state = self.state();
        let configured = || Modes { general: state.configured.mode, channels: state.configured.modes.clone() };
        state.switched.clone().unwrap_or_else(configured)
    }

    /// Whether modes are in force that the settings do not name.
    pub fn is_switched(&self) -> bool {
        self.state().switched.is_some()
    }

    /// Puts other modes in force, for every connection, until [`restore`](Self::restore).
    pub fn switch(&self, modes: Modes) {
        self.change(|state| state.switched = Some(modes));
    }

    /// Puts the modes of the settings in force again.
    pub fn restore(&self) {
        self.change(|state| state.switched = None);
    }

    /// Takes over a policy from settings that were read again. Modes that were switched stay in force: an operator who has
    /// thrown the switch must not lose that to a file.
    pub fn configure(&self, configured: Arc<Policy>) {
        self.change(|state| state.configured = configured);
    }

    /// Puts other keys of contexts in force, for every connection.
    pub fn set_context_keys(&self, keys: ContextKeys) {
        self.change(|state| state.keys = keys);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let policy = state.in_force();
        state.services.iter().for_each(|service| service.policy.set(Arc::clone(&policy)));
    }

    /// A panic elsewhere does not make the list or the policy wrong.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn in_force(&self) -> Arc<Policy> {
        if self.switched.is_none() && self.keys.is_empty() {
            return Arc::clone(&self.configured);
        }
        let mut policy = Policy { keys: self.keys.clone(), ..Policy::clone(&self.configured) };
        if let Some(Modes { general, channels }) = &self.switched {
            (policy.mode, policy.modes) = (*general, channels.clone());
        }
        Arc::new(policy)
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::glob::Glob;
    use redistributed_core::policy::Mode;

    use super::*;
    use crate::settings::otel::UNKNOWN_SERVICE;
    use crate::telemetry::stats::ProxyCounter;

    fn services(configured: Policy) -> Services {
        let state = State {
            services: Vec::new(),
            configured: Arc::new(configured),
            switched: None,
            keys: ContextKeys::default(),
        };
        let (otel, follow) = (OtelSettings::default(), FollowSettings::default());
        Services { otel, follow, writers: None, host: Host::default(), state: Mutex::new(state) }
    }

    fn off() -> Modes {
        Modes { general: Mode::Strip, channels: Vec::new() }
    }

    #[test]
    fn endpoints_of_one_name_have_one_service() {
        let services = services(Policy::default());
        for (name, connections) in [(Some("api"), 1), (Some("worker"), 10), (Some("api"), 100), (None, 1_000)] {
            services.get(name).stats.add(ProxyCounter::ConnectionsAccepted, connections);
        }
        let all = services.all();
        let counted: Vec<_> = all
            .iter()
            .map(|service| (&**service.name(), service.stats.get(ProxyCounter::ConnectionsAccepted)))
            .collect();
        assert_eq!(counted, [("api", 101), ("worker", 10), (UNKNOWN_SERVICE, 1_000)]);
        assert_eq!(services.total().get(ProxyCounter::ConnectionsAccepted), 1_111);
    }

    #[test]
    fn a_switch_changes_the_modes_of_every_service_and_nothing_else_and_can_be_taken_back() {
        let modes = vec![(Glob::new("a*").unwrap(), Mode::Strip)];
        let services = services(Policy { inject_limit: 77, modes: modes.clone(), ..Policy::default() });
        let before = services.get(Some("before"));
        services.switch(off());
        let after = services.get(Some("after"));
        for service in [&before, &after] {
            let policy = service.policy.current();
            assert_eq!((policy.mode, policy.modes.len(), policy.inject_limit), (Mode::Strip, 0, 77));
        }
        assert_eq!(services.modes(), off());
        services.restore();
        assert_eq!(services.modes(), Modes { general: Mode::Auto, channels: modes });
        for service in [&before, &after] {
            assert_eq!(service.policy.current().mode, Mode::Auto);
        }
    }

    #[test]
    fn keys_of_contexts_stay_whatever_else_changes() {
        let services = services(Policy::default());
        services.set_context_keys(ContextKeys::new(["key"]));
        let service = services.get(None);
        services.switch(off());
        services.configure(Arc::default());
        services.restore();
        assert!(!service.policy.current().keys.is_empty());
        services.set_context_keys(ContextKeys::default());
        assert!(service.policy.current().keys.is_empty());
    }

    #[test]
    fn a_switch_outlives_other_settings_and_then_gives_way_to_them() {
        let services = services(Policy::default());
        let service = services.get(None);
        services.switch(off());
        let exclude = vec![Glob::new("a*").unwrap()];
        services.configure(Arc::new(Policy { mode: Mode::Observe, exclude, ..Policy::default() }));
        assert_eq!((services.modes(), services.is_switched()), (off(), true));
        assert_eq!((service.policy.current().mode, service.policy.current().exclude.len()), (Mode::Strip, 1));
        services.restore();
        assert_eq!((services.modes().general, services.is_switched()), (Mode::Observe, false));
        assert_eq!(service.policy.current().mode, Mode::Observe);
    }
}
