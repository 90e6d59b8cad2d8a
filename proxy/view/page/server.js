// What is asked of the program that serves this page, and what it tells by itself.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  /** A question that was not answered as hoped; `message` is a sentence for people. */
  class Unanswered extends Error {
    constructor(message, status) {
      super(message);
      this.status = status;
    }
  }

  const request = async (path, options) => {
    let response;
    try {
      response = await fetch(path, { cache: 'no-store', ...options });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Unanswered('The program that serves this page does not answer. It may have been stopped.', 0);
    }
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new Unanswered(body.error ?? `The answer was ${response.status}.`, response.status);
  };

  const ask = async (path, options) => (await request(path, options)).json();

  /** One page of the transactions that `query` asks for; `before` is the cursor of the page before. */
  const transactions = (query, before, signal) => {
    const parameters = new URLSearchParams({ ...query, limit: '100' });
    if (before) parameters.set('before', before);
    return ask(`/api/transactions?${parameters}`, { signal });
  };

  /** A transaction. `arrived(n)` is called now and then with the number of spans that have arrived. */
  const transaction = async (trace, signal, arrived) => {
    const response = await request(`/api/transactions/${trace}`, { signal });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const pieces = RV.pieces.create();
    for (;;) {
      const { value, done } = await reader.read();
      if (RV.pieces.push(pieces, done ? decoder.decode() : decoder.decode(value, { stream: true }))) {
        arrived(pieces.spans.length);
        await breath();
      }
      if (done) return RV.pieces.end(pieces);
    }
  };

  // Lets the browser draw, and a person scroll.
  const breath = () =>
    globalThis.scheduler?.yield
      ? scheduler.yield()
      : new Promise((resolve) => {
          setTimeout(resolve);
        });

  const view = (name, signal) => ask(`/api/${name}`, { signal });

  /** Gives a saved trace to the program. */
  const open = (file) => ask('/api/open', { method: 'POST', body: file, headers: { 'X-Redistributed': '1' } });

  const download = (trace, form) => `/api/transactions/${trace}/${form}.json`;

  // The stream of events. A browser tries again by itself unless the answer is an error; then this does.
  const live = { state: 'connecting', wasLost: false, listeners: new Set(), source: null, pause: 1_000, timer: 0 };

  const tell = (event) => {
    for (const listener of [...live.listeners]) listener(event);
  };

  const setState = (state) => {
    if (live.state === state) return;
    live.state = state;
    tell({ type: 'state', state });
  };

  const connect = () => {
    live.source?.close();
    const source = new EventSource('/api/events');
    live.source = source;
    source.addEventListener('open', () => {
      live.pause = 1_000;
      setState('live');
      if (live.wasLost) tell({ type: 'missed' });
      live.wasLost = false;
    });
    source.addEventListener('changed', (event) => {
      const change = JSON.parse(event.data);
      tell({ type: 'changed', transactions: change.transactions, kept: change.kept });
      if (change.more) tell({ type: 'missed' });
    });
    source.addEventListener('error', () => {
      live.wasLost = true;
      setState('lost');
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(live.timer);
      live.timer = setTimeout(connect, live.pause);
      live.pause = Math.min(live.pause * 2, 15_000);
    });
  };

  /** Calls `listener` with each event: `state`, `changed`, and `missed` when something may have been. Returns how to stop. */
  const listen = (listener) => {
    live.listeners.add(listener);
    return () => live.listeners.delete(listener);
  };

  const state = () => live.state;

  RV.server = { Unanswered, transactions, transaction, view, open, download, connect, listen, state };
})();
