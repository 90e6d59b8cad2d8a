//! The text of `--help` around the options.

pub(super) const ABOUT: &str = "Carries trace context through Redis Pub/Sub for services that know nothing of tracing";

pub(super) const LONG_ABOUT: &str = "\
A sidecar proxy for Redis. Point a service's REDIS_URL at it and change nothing else: the context of a trace is added \
to every message that the service publishes, removed from every message that is delivered to it, and both become \
OpenTelemetry spans. Everything else passes through byte for byte.";

pub(super) const AFTER_HELP: &str = "See --help for examples, the OTEL_* variables and the exit codes.";

pub(super) const AFTER_LONG_HELP: &str = "\
Examples:
  One service, spans to a collector on this host:
      OTEL_SERVICE_NAME=api redistributed --listen 127.0.0.1:6380 --upstream redis://127.0.0.1:6379

  See the spans instead of sending them:
      OTEL_TRACES_EXPORTER=console redistributed --listen 127.0.0.1:6380 --upstream 127.0.0.1:6379

  Two services, one process:
      redistributed --route api=127.0.0.1:6380,redis://cache:6379 \\
                    --route worker=127.0.0.1:6381,redis://cache:6379

  Spans of HTTP requests, without a Redis:
      OTEL_SERVICE_NAME=web redistributed --http 0.0.0.0:8080,127.0.0.1:3000

  JSON channels whose consumers read `traceparent` themselves:
      redistributed ... --carrier 'orders.*=json' --keep-context 'orders.*'

Configuration:
  The command line wins over the environment, that over the file, and that over the defaults, each
  setting by itself. Most options have a variable, named beside them; an empty one counts as unset.
  Options that can be repeated take several values there, separated by spaces or `;`. In the file
  (TOML) they take an array, and the OTEL_* variables stand under [otel]:
      listen = \"127.0.0.1:6380\"
      upstream = \"redis://cache:6379\"
      mode-for = [\"orders.*=strip\"]
      [otel]
      OTEL_SERVICE_NAME = \"orders\"
  SIGHUP reads the file again. Modes, globs, carriers, templates, --relation, --follow, --trust,
  --commands and --log-level change for open connections too; the log names what needs a restart.
  A file that cannot be used changes no setting. Certificates and passwords in files are read
  again too.

Environment:
  Service name, export and sampling are set by the standard OpenTelemetry variables:
  OTEL_SERVICE_NAME                 the service this sidecar stands for (a route's name wins)
  OTEL_RESOURCE_ATTRIBUTES          more about the service: deployment.environment.name=prod,...
  OTEL_TRACES_EXPORTER              otlp (default), console or none
  OTEL_EXPORTER_OTLP_ENDPOINT       the collector: http://localhost:4318, or :4317 with grpc
  OTEL_EXPORTER_OTLP_PROTOCOL       http/protobuf (default) or grpc
  OTEL_EXPORTER_OTLP_HEADERS        sent with each export: key=value,...; _HEADERS_FILE: a file
  OTEL_TRACES_SAMPLER, _ARG         parentbased_always_on (default), traceidratio with 0.1, ...
  OTEL_PROPAGATORS                  tracecontext,baggage (default), b3, b3multi, jaeger, none
  OTEL_SDK_DISABLED                 true: make no spans; contexts in messages still pass on

Exit codes:
  0    stopped by SIGTERM or SIGINT after draining; or --healthcheck found every listener,
       --check-config no mistake
  1    failed while running; or --healthcheck did not find a listener
  2    an argument, a variable, the configuration file or a combination of them is wrong, a file
       that one names cannot be used, or an upstream leads back to this proxy
  3    a listen address could not be bound
  130  a second signal ended the drain, and it was SIGINT
  143  a second signal ended the drain, and it was SIGTERM";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::otel;

    #[test]
    fn the_variables_that_are_named_are_read() {
        let words = AFTER_LONG_HELP.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: Vec<&str> =
            words.filter(|word| word.strip_prefix("OTEL_").is_some_and(|rest| !rest.is_empty())).collect();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(otel::is_known(name), "{name} is not read");
        }
    }

    #[test]
    fn what_stands_below_the_options_is_not_broken_by_narrow_terminals() {
        for line in AFTER_LONG_HELP.lines() {
            assert!(
                line.len() <= 100,
                "clap breaks lines of more than 100 where it does not know the terminal: {line}"
            );
        }
    }
}
