// What is shown before anything has arrived, and how much is kept.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h } = RV.dom;

  let latest = null;

  /** How to let something arrive. `kept` may say where spans are received, if that is not where sidecars send them anyway. */
  const empty = (kept = latest) => {
    const http = kept?.receivers?.http;
    const endpoint = http && !http.endsWith(':4318') ? `OTEL_EXPORTER_OTLP_ENDPOINT=http://${http} ` : '';
    return RV.notice.empty(
      'Nothing has arrived yet',
      [
        'Transactions appear here as they happen, as soon as a sidecar, or anything else that speaks OTLP, sends spans here.',
        'Sidecars send them to localhost:4318 unless OTEL_EXPORTER_OTLP_ENDPOINT says otherwise. A saved trace can be opened too.',
      ],
      [
        ['A service with a sidecar of its own:', `${endpoint}OTEL_SERVICE_NAME=orders redistributed run -- your-service`],
        [
          'A sidecar by itself:',
          `${endpoint}OTEL_SERVICE_NAME=orders redistributed --listen 127.0.0.1:6380 --upstream redis://127.0.0.1:6379`,
        ],
        [
          'What is wrong, if still nothing arrives:',
          `${endpoint}redistributed check --listen 127.0.0.1:6380 --upstream redis://127.0.0.1:6379`,
        ],
      ],
    );
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
    RV.dom.fill(
      place,
      h('span.meter', { 'aria-hidden': 'true', css: { '--share': `${share * 100}%` } }),
      h(
        'span',
        `${RV.format.compact(kept.spans)} spans`,
        h('span.wide', ` · ${RV.format.bytes(kept.bytes)} of ${RV.format.bytes(kept.limit_bytes)}`),
      ),
      kept.refused_spans > 0 && RV.dom.icon('error', 'Spans were refused'),
    );
    place.title = [
      `${RV.format.many(kept.transactions, 'transaction')} with ${RV.format.many(kept.spans, 'span')} in memory`,
      ...gone,
    ].join('\n');
  };

  RV.start = { empty };
  RV.memory = { show: showMemory };
})();
