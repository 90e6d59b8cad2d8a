//! What connections count and time, by route.

use std::sync::Arc;

use super::stats::Stats;

/// The counters of every route, by the name of its service. Routes of one name share theirs.
#[derive(Debug)]
pub struct RouteStats(Vec<(String, Arc<Stats>)>);

impl RouteStats {
    /// For routes of these names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut routes: Vec<(String, Arc<Stats>)> = Vec::new();
        for name in names {
            let known = routes.iter().find(|(known, _)| known == name).map(|(_, stats)| Arc::clone(stats));
            routes.push((name.to_owned(), known.unwrap_or_default()));
        }
        Self(routes)
    }

    /// The counters of the route at `index`.
    pub fn of(&self, index: usize) -> Arc<Stats> {
        self.0.get(index).map(|(_, stats)| Arc::clone(stats)).unwrap_or_default()
    }

    /// The name of the route at `index`.
    pub fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or("", |(name, _)| name)
    }

    /// Each name once, with its counters.
    pub fn by_name(&self) -> impl Iterator<Item = (&str, &Stats)> {
        let first = |index: usize, name: &str| self.0.iter().position(|(known, _)| known == name) == Some(index);
        let routes = self.0.iter().enumerate().filter(move |(index, (name, _))| first(*index, name));
        routes.map(|(_, (name, stats))| (&**name, &**stats))
    }

    /// The sums over all routes.
    pub fn total(&self) -> Stats {
        let total = Stats::default();
        self.by_name().for_each(|(_, stats)| total.merge(stats));
        total
    }
}
