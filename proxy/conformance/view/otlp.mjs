// Spans as a sidecar would send them, in OTLP's JSON form.

let last = 0;

/** A new id of `digits` hexadecimal digits. */
export const id = (digits) => {
  last += 1;
  return `a${last.toString(16).padStart(digits - 1, '0')}`;
};

const valueOf = (value) => {
  if (Array.isArray(value)) return { arrayValue: { values: value.map(valueOf) } };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  return { stringValue: value };
};

const attributesOf = (pairs) => Object.entries(pairs).map(([key, value]) => ({ key, value: valueOf(value) }));

const KINDS = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };
const at = (start, us) => String(start + BigInt(Math.round(us * 1_000)));

/**
 * One span of OTLP. `start` is the transaction's in nanoseconds, `from` and `took` are microseconds. `error` is `error.type`.
 */
export const span = (
  start,
  {
    trace,
    own = id(16),
    parent,
    name,
    kind = 'internal',
    from = 0,
    took = 1,
    attributes = {},
    error,
    message = '',
    events = [],
    links = [],
  },
) => ({
  traceId: trace,
  spanId: own,
  ...(parent && { parentSpanId: parent }),
  name,
  kind: KINDS[kind],
  startTimeUnixNano: at(start, from),
  endTimeUnixNano: at(start, from + took),
  attributes: attributesOf({ ...attributes, ...(error !== undefined && { 'error.type': error }) }),
  ...(error !== undefined && { status: { code: 2, message } }),
  events: events.map((event) => ({
    name: event.name,
    timeUnixNano: at(start, event.at),
    attributes: attributesOf(event.attributes ?? {}),
  })),
  links: links.map((link) => ({ traceId: link.trace, spanId: link.span, attributes: attributesOf(link.attributes ?? {}) })),
});

/** A request of OTLP with the spans of each service: `{service: [span, …]}`. */
export const request = (byService, resource = {}) => ({
  resourceSpans: Object.entries(byService).map(([service, spans]) => ({
    resource: { attributes: attributesOf({ 'service.name': service, 'telemetry.sdk.language': 'rust', ...resource }) },
    scopeSpans: [{ scope: { name: 'redistributed' }, spans }],
  })),
});

const publish = (channel, receivers, more) => ({
  'messaging.system': 'redis',
  'messaging.operation.name': 'publish',
  'messaging.operation.type': 'send',
  'messaging.destination.name': channel,
  'redis.pubsub.receivers': receivers,
  ...more,
});
const process = (channel) => ({
  'messaging.system': 'redis',
  'messaging.operation.name': 'process',
  'messaging.operation.type': 'process',
  'messaging.destination.name': channel,
});
const command = (name, more) => ({ 'db.system.name': 'redis', 'db.operation.name': name, ...more });

/**
 * The report of the README, with two workers: `{trace, ids, body}`. Times are the same each time, so that what is shown can be
 * written down. `fails` lets the mail worker's command fail, `writer` is linked to by the last command.
 */
export const report = (start, { fails = false, writer } = {}) => {
  const trace = id(32);
  const ids = Object.fromEntries(
    ['request', 'publish', 'chart', 'set', 'done', 'back', 'mail', 'hset', 'setex'].map((name) => [name, id(16)]),
  );
  const one = (name, parent, over) => span(start, { trace, own: ids[name], parent: parent && ids[parent], ...over });
  const body = request({
    api: [
      one('request', null, {
        name: 'POST /reports',
        kind: 'server',
        took: 6_500,
        attributes: {
          'http.request.method': 'POST',
          'http.route': '/reports',
          'http.response.status_code': 202,
          'url.path': '/reports',
        },
      }),
      one('publish', 'request', {
        name: 'publish reports',
        kind: 'producer',
        from: 1_580,
        took: 590.25,
        attributes: publish('reports', 2, { 'redistributed.cause': 'alone' }),
      }),
      one('back', 'done', {
        name: 'process reports.done',
        kind: 'consumer',
        from: 89_870,
        took: 1_530,
        attributes: process('reports.done'),
      }),
      one('setex', 'request', {
        name: 'SETEX',
        kind: 'client',
        from: 3_990,
        took: 0.812,
        attributes: command('SETEX', { 'redistributed.cause': 'token' }),
        links: writer
          ? [
              { trace: writer.trace, span: writer.span, attributes: { 'redistributed.link': 'writer' } },
              { trace: 'f'.repeat(32), span: 'e'.repeat(16) },
            ]
          : [],
      }),
    ],
    'worker-chart': [
      one('chart', 'publish', {
        name: 'process reports',
        kind: 'consumer',
        from: 2_300,
        took: 87_460,
        attributes: process('reports'),
        events: [{ name: 'handed over', at: 2_388 }],
      }),
      one('set', 'chart', {
        name: 'SET report:*',
        kind: 'client',
        from: 87_250,
        took: 940,
        attributes: command('SET', { 'redistributed.cause': 'token' }),
      }),
      one('done', 'chart', {
        name: 'publish reports.done',
        kind: 'producer',
        from: 89_400,
        took: 370,
        attributes: publish('reports.done', 1, { 'redistributed.cause': 'token' }),
      }),
    ],
    'worker-mail': [
      one('mail', 'publish', {
        name: 'process reports',
        kind: 'consumer',
        from: 2_410,
        took: 3_200,
        attributes: process('reports'),
      }),
      one('hset', 'mail', {
        name: 'HSET',
        kind: 'client',
        from: 2_900,
        took: 310,
        attributes: command('HSET', fails ? { 'db.response.status_code': 'WRONGTYPE' } : {}),
        error: fails ? 'WRONGTYPE' : undefined,
      }),
    ],
  });
  return { trace, ids, body };
};

/** A publish whose message carries no context, for `reason`. */
export const unfollowed = (start, channel, receivers, reason) => {
  const trace = id(32);
  return {
    trace,
    body: request({
      api: [
        span(start, {
          trace,
          name: `publish ${channel}`,
          kind: 'producer',
          took: 300,
          attributes: publish(channel, receivers, { 'redistributed.context.skipped': reason }),
        }),
      ],
    }),
  };
};

/** `n` spans of one transaction, as requests of a few thousand each: the tree of an import, with an error here and there. */
export function* large(start, n, perRequest = 5_000) {
  const trace = id(32);
  const own = (k) => (k + 1).toString(16).padStart(16, '0');
  const services = ['api', 'importer', 'indexer', 'mailer'];
  for (let begin = 0; begin < n; begin += perRequest) {
    const byService = Object.fromEntries(services.map((name) => [name, []]));
    for (let k = begin; k < Math.min(n, begin + perRequest); k += 1) {
      const isFirst = k === 0;
      // Ten below each.
      const parent = isFirst ? undefined : own(Math.floor((k - 1) / 10));
      byService[services[k % 4]].push(
        span(start, {
          trace,
          own: own(k),
          parent,
          name: isFirst ? 'POST /import' : ['SET row:*', 'publish rows', 'process rows'][k % 3],
          kind: isFirst ? 'server' : ['client', 'producer', 'consumer'][k % 3],
          from: k * 100,
          took: isFirst ? n * 100 : 250 + (k % 7) * 40,
          attributes: isFirst
            ? { 'http.response.status_code': 200 }
            : {
                'messaging.system': 'redis',
                'messaging.destination.name': 'rows',
                'network.peer.address': '127.0.0.1',
                'network.peer.port': 6379,
                ...(k % 5 === 0 && { 'redistributed.cause': 'token' }),
              },
          error: k > 0 && k % 9_973 === 0 ? 'OOM' : undefined,
        }),
      );
    }
    yield { trace, body: request(byService) };
  }
}

const MARKUP = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>';
const TURNED = 'שלום עולם \u202Egnp.exe';
const LONG = 'very-long-name-'.repeat(600);
const UNSEEN = 'a\u0000b\u001b[31mred\nline\u0007\u200b';

/** Spans whose names, services, channels, keys and values are what an attacker or an accident would send. */
export const hostile = (start) => {
  const trace = id(32);
  const ids = [id(16), id(16), id(16), id(16), id(16)];
  const everywhere = {
    [MARKUP]: MARKUP,
    long: LONG,
    turned: TURNED,
    unseen: UNSEEN,
    list: [1, MARKUP, true],
    big: 1.5,
    'messaging.destination.name': MARKUP,
  };
  const body = request(
    {
      [MARKUP]: [
        span(start, {
          trace,
          own: ids[0],
          name: MARKUP,
          kind: 'server',
          took: 5_000,
          attributes: everywhere,
          error: MARKUP,
          message: MARKUP,
          events: [{ name: MARKUP, at: 20, attributes: { [MARKUP]: MARKUP } }],
          links: [{ trace: 'd'.repeat(32), span: 'c'.repeat(16), attributes: { [MARKUP]: MARKUP } }],
        }),
      ],
      [TURNED]: [
        span(start, {
          trace,
          own: ids[1],
          parent: ids[0],
          name: TURNED,
          kind: 'producer',
          from: 10,
          took: 0.5,
          attributes: {
            'redistributed.cause': MARKUP,
            'messaging.destination.name': TURNED,
            'redistributed.context.skipped': MARKUP,
          },
        }),
      ],
      [LONG]: [
        span(start, {
          trace,
          own: ids[2],
          parent: ids[0],
          name: LONG,
          kind: 'consumer',
          from: 30,
          took: 900,
          attributes: { 'messaging.destination.name': LONG },
        }),
      ],
      [UNSEEN]: [span(start, { trace, own: ids[3], parent: '9'.repeat(16), name: UNSEEN, from: 4_000, took: 0 })],
      // Each is the other's parent.
      circle: [
        span(start, { trace, own: ids[4], parent: 'b'.repeat(16), name: 'circle a', from: 50 }),
        span(start, { trace, own: 'b'.repeat(16), parent: ids[4], name: 'circle b', from: 60 }),
      ],
    },
    { [MARKUP]: MARKUP },
  );
  return { trace, ids, body, MARKUP, UNSEEN };
};
