// Deep links: what the fragment of the page's address says, and the fragment of a place. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const PAGES = ['transactions', 'graph', 'channels', 'untraced'];
  /** What the list of transactions can be searched by, in the order in which links have it. */
  const FILTERS = ['text', 'service', 'channel', 'min_us', 'max_us', 'errors'];

  /** The filters that `parameters` holds; empty ones are left out, and a duration must be a number. */
  const filters = (parameters) => {
    const query = {};
    for (const name of FILTERS) {
      const value = parameters.get(name);
      if (!value || (name === 'errors' && value !== '1')) continue;
      if (name.endsWith('_us') && !(Number.isFinite(Number(value)) && Number(value) >= 0)) continue;
      query[name] = value;
    }
    return query;
  };

  /** The place of a fragment: `{page, query}` or `{page: 'trace', trace, span}`. What is not understood is the first page. */
  const parse = (fragment) => {
    const [path, search = ''] = fragment.replace(/^#/, '').split('?', 2);
    const [, page, trace, span] = path.split('/');
    if (page === 'trace' && /^[0-9a-f]{32}$/i.test(trace ?? '')) {
      const wanted = /^[0-9a-f]{16}$/i.test(span ?? '') ? span.toLowerCase() : null;
      return { page: 'trace', trace: trace.toLowerCase(), span: wanted };
    }
    if (page === 'transactions') return { page, query: filters(new URLSearchParams(search)) };
    return PAGES.includes(page) ? { page } : { page: 'transactions', query: {} };
  };

  const transactions = (query = {}) => {
    const parameters = new URLSearchParams();
    for (const name of FILTERS) if (query[name]) parameters.set(name, query[name]);
    const search = parameters.toString();
    return `#/transactions${search ? `?${search}` : ''}`;
  };

  const trace = (id, span) => `#/trace/${id}${span ? `/${span}` : ''}`;

  /** The trace id in what a person typed or pasted, if it is nothing else: 32 hexadecimal digits, or a `traceparent`. */
  const traceIn = (text) => {
    const found = /^\s*(?:00-)?([0-9a-f]{32})(?:-([0-9a-f]{16})(?:-[0-9a-f]{2})?)?\s*$/i.exec(text);
    return found ? { trace: found[1].toLowerCase(), span: found[2]?.toLowerCase() ?? null } : null;
  };

  /** Whether a summary is what the filters ask for, as far as it tells. `text` is left to the server. */
  const matches = (summary, query) =>
    (!query.service || summary.services.includes(query.service)) &&
    (!query.channel || summary.channels.includes(query.channel)) &&
    (!query.errors || summary.errors > 0) &&
    (!query.min_us || summary.duration_us >= Number(query.min_us)) &&
    (!query.max_us || summary.duration_us <= Number(query.max_us));

  RV.route = { PAGES, FILTERS, parse, transactions, trace, traceIn, matches };
})();
