// What is shown before anything has arrived, and how much is kept.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h } = RV.dom;

  let latest = null;

  /** How to let something arrive. `kept` may say where spans are received. */
  const empty = (kept = latest) => {
    const endpoint = kept?.receivers?.http ? `http://${kept.receivers.http}` : 'http://127.0.0.1:4318';
    return RV.notice.empty('Nothing has arrived yet', [
      'Transactions appear here as they happen, as soon as a sidecar, or anything else that speaks OTLP, sends spans to this program.',
    ], [
      ['A service behind a sidecar of its own:', `OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint} OTEL_SERVICE_NAME=orders redistributed run -- your-service`],
      ['A sidecar that runs by itself:', `OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint} OTEL_SERVICE_NAME=orders redistributed --listen 127.0.0.1:6380 --upstream redis://127.0.0.1:6379`],
      ['What a sidecar thinks of its Redis and its collector:', `OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint} redistributed check --listen 127.0.0.1:6380 --upstream redis://127.0.0.1:6379`],
    ]);
  };

  /** Shows in the head of the page how much is kept, and what had to go. */
  const showMemory = (kept) => {
    if (!kept) return;
    latest = kept;
    const place = document.getElementById('memory');
    const share = kept.limit_bytes > 0 ? Math.min(1, kept.bytes / kept.limit_bytes) : 0;
    const gone = [
      kept.forgotten_transactions > 0 && `${RV.format.many(kept.forgotten_transactions, 'transaction')} forgotten to make room`,
      kept.refused_spans > 0 && `${RV.format.many(kept.refused_spans, 'span')} refused`,
    ].filter(Boolean);
    RV.dom.fill(place, h('span.meter', { 'aria-hidden': 'true', css: { '--share': `${share * 100}%` } }),
      h('span', `${RV.format.compact(kept.spans)} spans`, h('span.wide', ` · ${RV.format.bytes(kept.bytes)} of ${RV.format.bytes(kept.limit_bytes)}`)),
      kept.refused_spans > 0 && RV.dom.icon('error', 'Spans were refused'));
    place.title = [`${RV.format.many(kept.transactions, 'transaction')} with ${RV.format.many(kept.spans, 'span')} in memory`, ...gone].join('\n');
  };

  RV.start = { empty };
  RV.memory = { show: showMemory };
})();
