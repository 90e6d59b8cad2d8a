//! The addresses of a host name.
//!
//! A name is resolved for each attempt, and nothing is cached: after a failover it leads elsewhere. But it is looked up once at a
//! time, and all who want it meanwhile share the answer. A look-up keeps a thread of its own for as long as the name server is
//! silent, so one for each waiting client would mean a thread for each.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The addresses of a name, once they are known, or why it has none.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Resolves host names.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Returns all addresses of `host`, in the order in which they are to be tried.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The system's resolver.
#[derive(Debug)]
struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for address in tokio::net::lookup_host((host, port)).await? {
                // A hosts file may name an address twice.
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        })
    }
}

/// The system's resolver, with at most one look-up of a name under way in the process.
pub(super) fn system() -> Arc<dyn Resolve> {
    static ONE_FOR_ALL: LazyLock<Arc<OneAtATime>> = LazyLock::new(|| Arc::new(OneAtATime::new(Arc::new(System))));
    ONE_FOR_ALL.clone()
}

/// A host and a port.
type Name = (String, u16);

/// The look-ups under way, each with the answer that its waiters wait for.
type LookUps = Mutex<HashMap<Name, watch::Receiver<Option<Answer>>>>;

type Answer = Result<Vec<SocketAddr>, Failure>;

/// An error that several can be told of.
#[derive(Clone, Debug)]
struct Failure {
    code: Option<i32>,
    kind: io::ErrorKind,
    text: String,
}

#[derive(Debug)]
struct OneAtATime {
    resolver: Arc<dyn Resolve>,
    under_way: Arc<LookUps>,
}

/// The place of a look-up among those under way, until this is dropped.
struct UnderWay {
    all: Arc<LookUps>,
    name: Name,
}

impl OneAtATime {
    fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, under_way: Arc::default() }
    }

    /// Joins the look-up that is under way, or begins one. It goes on if all who wait for it give up: whoever comes next joins it.
    fn join(&self, host: &str, port: u16) -> watch::Receiver<Option<Answer>> {
        let name = (host.to_owned(), port);
        let mut under_way = lock(&self.under_way);
        if let Some(answer) = under_way.get(&name) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        under_way.insert(name.clone(), answer.clone());
        let place = UnderWay { all: Arc::clone(&self.under_way), name };
        let resolver = Arc::clone(&self.resolver);
        tokio::spawn(async move {
            let (host, port) = &place.name;
            let found = resolver.resolve(host, *port).await.map_err(|error| Failure::of(&error));
            // Whoever comes from now on looks again.
            drop(place);
            tell.send_replace(Some(found));
        });
        answer
    }
}

impl Resolve for OneAtATime {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            if let Ok(ip) = host.parse::<IpAddr>() {
                return Ok(vec![SocketAddr::new(ip, port)]);
            }
            loop {
                let mut answer = self.join(host, port);
                // There is none if the thread that looked has ended, and then another one looks.
                if let Ok(found) = answer.wait_for(Option::is_some).await
                    && let Some(found) = &*found
                {
                    return found.clone().map_err(io::Error::from);
                }
            }
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.name);
    }
}

/// A panic elsewhere does not make the list wrong.
fn lock(all: &LookUps) -> MutexGuard<'_, HashMap<Name, watch::Receiver<Option<Answer>>>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        Self { code: error.raw_os_error(), kind: error.kind(), text: error.to_string() }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        failure.code.map_or_else(|| Self::new(failure.kind, failure.text), Self::from_raw_os_error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    use super::*;

    /// A name server that answers when it is told to, and counts what it is asked.
    #[derive(Debug)]
    struct Silent {
        asked: AtomicUsize,
        answers: Semaphore,
        address: Option<SocketAddr>,
    }

    impl Resolve for Silent {
        fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolving<'a> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                self.answers.acquire().await.unwrap().forget();
                self.address.map(|address| vec![address]).ok_or_else(|| io::Error::other("no such name"))
            })
        }
    }

    fn silent(address: Option<SocketAddr>) -> (Arc<Silent>, Arc<OneAtATime>) {
        let server = Arc::new(Silent { asked: AtomicUsize::new(0), answers: Semaphore::new(0), address });
        (server.clone(), Arc::new(OneAtATime::new(server)))
    }

    async fn ask_800_times(resolver: &Arc<OneAtATime>, host: &'static str) -> JoinSet<io::Result<Vec<SocketAddr>>> {
        let mut waiting = JoinSet::new();
        for _ in 0..800 {
            let resolver = resolver.clone();
            waiting.spawn(async move { resolver.resolve(host, 6379).await });
        }
        all_wait().await;
        waiting
    }

    /// Returns when no task can go on: the paused clock moves only then.
    async fn all_wait() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_want_a_name_at_a_time_share_one_look_up() {
        let address = SocketAddr::from(([10, 0, 0, 1], 6379));
        let (server, resolver) = silent(Some(address));
        let waiting = ask_800_times(&resolver, "redis").await;
        let other = ask_800_times(&resolver, "other").await;
        assert_eq!(server.asked.load(Ordering::Relaxed), 2, "one for each name");
        server.answers.add_permits(2);
        for found in waiting.join_all().await.into_iter().chain(other.join_all().await) {
            assert_eq!(found.unwrap(), [address]);
        }
        server.answers.add_permits(1);
        resolver.resolve("redis", 6379).await.unwrap();
        assert_eq!(server.asked.load(Ordering::Relaxed), 3, "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_and_those_who_gave_up_leave_the_look_up_to_the_next() {
        let (server, resolver) = silent(None);
        let mut gave_up = ask_800_times(&resolver, "redis").await;
        gave_up.shutdown().await;
        let waiting = ask_800_times(&resolver, "redis").await;
        assert_eq!(server.asked.load(Ordering::Relaxed), 1);
        server.answers.add_permits(1);
        for found in waiting.join_all().await {
            assert_eq!(found.unwrap_err().to_string(), "no such name");
        }
    }

    #[test]
    fn a_look_up_whose_runtime_has_ended_is_begun_anew() {
        let (server, resolver) = silent(Some(SocketAddr::from(([10, 0, 0, 1], 6379))));
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let first = runtime();
        first.block_on(async { drop(ask_800_times(&resolver, "redis").await) });
        let second = runtime();
        let waiting = second.spawn({
            let resolver = resolver.clone();
            async move { resolver.resolve("redis", 6379).await }
        });
        second.block_on(all_wait());
        drop(first);
        server.answers.add_permits(1);
        second.block_on(waiting).unwrap().unwrap();
        assert_eq!(server.asked.load(Ordering::Relaxed), 2);
    }
}
