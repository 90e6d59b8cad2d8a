//! What joins the two ends of a message of which nothing was told.

use super::{BESIDE, listening, of_message, payload};
use crate::e2e::deployment::Deployment;

#[tokio::test]
async fn a_message_of_which_nothing_was_told_is_in_the_trace_that_follows_from_its_bytes() {
    let deployment = Deployment::start().await;
    let mut direct = deployment.direct().await;
    // The proxy of the publisher may not tell anything.
    direct.call("ACL SETUSER mute on >pw ~* resetchannels &orders +@all").await;
    let redis = deployment.redis.address();
    let routes = [("api", "mute:pw@"), ("worker", "")];
    let routes = routes.map(|(service, login)| format!("{service}=127.0.0.1:0,redis://{login}{redis}"));
    let settings = ["--route", &routes[0], "--route", &routes[1], "--follow-window", "1s"];
    let both = deployment.shared_sidecar(&[&settings[..], &BESIDE].concat());
    let (mut publisher, mut receiver) = (both.connect_to_route(0).await, both.connect_to_route(1).await);
    receiver.subscribe("SUBSCRIBE orders").await;
    listening(&mut direct, 1).await;
    let (once, twice) = (payload(1), payload(2));
    for payload in [&once, &twice, &twice, &"hello".to_owned()] {
        assert_eq!(publisher.publish("orders", payload.as_bytes()).await, 1);
        assert_eq!(receiver.message().await.payload, payload.as_bytes());
    }
    deployment.collector_has_such(4, |span| span.service_name() == "worker").await;
    drop((publisher, receiver));
    let warning = "--out-of-band needs more rights than the proxy has on Redis (telling contexts)";
    let spans = deployment.spans_after_warnings([both], &[warning]).await;
    let [published] = of_message(&spans, "api", &once)[..] else { panic!() };
    let [delivered] = of_message(&spans, "worker", &once)[..] else { panic!() };
    assert!(published.is_root() && published.links.is_empty(), "{published:?}");
    assert_eq!((&delivered.trace_id, delivered.is_root()), (&published.trace_id, true));
    let linked: Vec<_> = delivered.links.iter().map(|(trace, _)| trace).collect();
    assert_eq!(linked, [&published.trace_id]);
    // Of the same bytes that come twice nobody can tell which is whose.
    let [first, second] = of_message(&spans, "api", &twice)[..] else { panic!() };
    let linked: Vec<_> = second.links.iter().map(|(trace, _)| trace).collect();
    assert_eq!((&first.links[..], &linked[..]), (&[][..], &[&first.trace_id][..]));
    assert_ne!(first.trace_id, second.trace_id);
    let nobodys = of_message(&spans, "worker", &twice).into_iter().chain(of_message(&spans, "worker", "hello"));
    for delivered in nobodys {
        assert!(delivered.is_root() && delivered.links.is_empty() && delivered.trace_id != first.trace_id);
    }
}
