// The graph as it is drawn, from what the program tells: services and channels as nodes; requests come in beside the service that
// gets them; commands to Redis, which every service has, are words in its box. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const LONGEST_NAME = 26;

  const shortName = (name) => {
    const text = RV.format.clipped(name, 200);
    return text.length <= LONGEST_NAME ? text : `${text.slice(0, LONGEST_NAME)}…`;
  };

  // For a font with wide letters, which is better than names that stand over the edge of their box.
  const widthOf = (name, lines) => {
    const longest = Math.max(name.length * 8, ...lines.map((line) => line.length * 6.7));
    return Math.max(96, longest + 34);
  };

  const timing = (edge) => (edge.p95_us > 0 ? `p95 ${RV.format.duration(edge.p95_us)}` : '');

  const words = (...parts) => parts.filter(Boolean).join(' · ');

  const service = ({ name, spans, errors }, redis) => {
    const lines = [
      words(RV.format.many(spans, 'span'), errors > 0 && RV.format.many(errors, 'error')),
      redis && words(`Redis ${RV.format.rate(redis.rate)}`, timing(redis)),
    ].filter(Boolean);
    return node('service', name, lines, { errors, spans });
  };

  const node = (type, name, lines, more = {}) => ({
    id: `${type} ${name}`,
    type,
    name,
    lines,
    title: shortName(name),
    width: widthOf(shortName(name), lines),
    height: 26 + 15 * lines.length,
    ...more,
  });

  /** So many channels are drawn at most, the busiest ones; with more, nobody could read the drawing. */
  const MOST_CHANNELS = 60;

  // The busiest channels, the edges to and from them, and the services that these edges touch; all of a graph that is small.
  const busiest = ({ services, channels, edges }, most) => {
    if (channels.length <= most && services.length <= most) return { services, channels, edges };
    const kept = [...channels].sort((a, b) => b.messages - a.messages || byName(a, b)).slice(0, most);
    const names = new Set(kept.map(({ name }) => name));
    const isKept = (end) => end.type !== 'channel' || names.has(end.name);
    const left = edges.filter(({ from, to }) => isKept(from) && isKept(to));
    const touched = new Set(
      left
        .filter(({ from, to }) => from.type === 'channel' || to.type === 'channel')
        .flatMap(({ from, to }) => [from, to])
        .filter(({ type }) => type === 'service')
        .map(({ name }) => name),
    );
    const isTouched = (end) => end.type !== 'service' || touched.has(end.name);
    return {
      services: services.filter(({ name }) => touched.has(name)),
      channels: kept,
      edges: left.filter(({ from, to }) => isTouched(from) && isTouched(to)),
    };
  };

  /**
   * Nodes and edges for the layout. An edge has `words`, what stands beside it, and `sentence`, which says all in words. Of more
   * than `most` channels or services only the busiest are drawn; `left` says how many are not.
   */
  const build = (answer, most = MOST_CHANNELS) => {
    const { services, channels, edges } = busiest(answer, most);
    const left = { channels: answer.channels.length - channels.length, services: answer.services.length - services.length };
    const toRedis = new Map(edges.filter((edge) => edge.to.type === 'redis').map((edge) => [edge.from.name, edge]));
    const nodes = new Map();
    const add = (made) => nodes.has(made.id) || nodes.set(made.id, made);
    for (const one of [...services].sort(byName)) add(service(one, toRedis.get(one.name)));
    for (const one of [...channels].sort(byName)) {
      add(node('channel', one.name, [words(RV.format.rate(one.rate), timing(one))], { messages: one.messages }));
    }
    const drawn = [];
    for (const edge of edges) {
      if (edge.to.type === 'redis') continue;
      const from = edge.from.type === 'client' ? client(edge) : { type: edge.from.type, name: edge.from.name };
      for (const end of [from, edge.to]) add(end.lines ? end : unknown(end));
      drawn.push({
        ...edge,
        from: from.id ?? `${from.type} ${from.name}`,
        to: `${edge.to.type} ${edge.to.name}`,
        words: from.lines ? '' : words(RV.format.rate(edge.rate), timing(edge)),
        sentence: sentence(edge),
      });
    }
    return { nodes: [...nodes.values()], edges: drawn, left };
  };

  const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

  const client = (edge) => ({
    ...node('client', edge.from.name || 'requests', [words(RV.format.rate(edge.rate), timing(edge))]),
    id: `client ${edge.from.name} ${edge.to.name}`,
  });

  const unknown = ({ type, name }) => node(type, name, []);

  const VERBS = { client: 'ask', service: 'publishes to', channel: 'delivers to' };

  /** An edge in words: who, what it does, and to whom. */
  const sentence = ({ from, to }) => [
    from.name || 'clients',
    to.type === 'redis' ? 'sends commands to' : (VERBS[from.type] ?? 'leads to'),
    to.name || 'Redis',
  ];

  RV.graphModel = { build, sentence };
})();
