// Brings the parts together: which view is shown, and what the head of the page says.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const VIEWS = {
    transactions: (place) => new RV.transactions.Transactions(place),
    trace: (place) => new RV.trace.Trace(place),
    graph: () => new RV.graph.Graph(),
    channels: () => new RV.channels.Channels(),
    untraced: () => new RV.untraced.Untraced(),
  };
  const TITLES = {
    transactions: 'Transactions',
    trace: 'Transaction',
    graph: 'Graph',
    channels: 'Channels',
    untraced: 'Messages without a trace',
  };
  const STATES = {
    connecting: ['Connecting', 'Connecting to the program that serves this page'],
    live: ['Live', 'What happens appears here at once'],
    lost: [
      'Connection lost',
      'The program that serves this page does not answer. What is shown may be old. The page tries again by itself.',
    ],
  };

  let place = null;
  let view = null;
  let lastList = '#/transactions';

  const remember = () => {
    if (RV.route.parse(location.hash).page === 'transactions') lastList = location.hash || '#/transactions';
    document.getElementById('nav-transactions').href = lastList;
  };

  const show = () => {
    const next = RV.route.parse(location.hash);
    remember();
    const isSame = place?.page === next.page && next.page === 'trace' && place.trace === next.trace;
    place = next;
    if (isSame) {
      view.move(next);
      return;
    }
    view?.end();
    view = VIEWS[next.page](next);
    document.title = `${TITLES[next.page]} – redistributed view`;
    RV.dom.fill(document.getElementById('view'), view.element);
    for (const link of document.querySelectorAll('nav a')) {
      const isHere = link.dataset.page === next.page || (next.page === 'trace' && link.dataset.page === 'transactions');
      if (isHere) link.setAttribute('aria-current', next.page === 'trace' ? 'true' : 'page');
      else link.removeAttribute('aria-current');
    }
    view.start();
  };

  const showState = () => {
    const state = RV.server.state();
    const [words, why] = STATES[state];
    const element = document.getElementById('connection');
    element.dataset.state = state;
    element.title = why;
    element.querySelector('.words').textContent = words;
    document.getElementById('lost').hidden = state !== 'lost';
  };

  // Names for the fields of the search, asked for when they are needed and kept for some seconds.
  let known = null;
  const names = async () => {
    if (known && Date.now() - known.at < 5_000) return known.names;
    const [graph, channels] = await Promise.all([RV.server.view('graph'), RV.server.view('channels')]);
    const services = graph.services.map(({ name }) => name).sort();
    // In the order of the alphabet, so that colours do not depend on who came first.
    for (const name of services) RV.colours.of(RV.colours.shared, name);
    known = { at: Date.now(), names: { services, channels: channels.channels.map(({ name }) => name).sort() } };
    return known.names;
  };

  const start = async () => {
    const byId = (id) => document.getElementById(id);
    RV.theme.start(byId('theme'), () => {
      view?.end();
      place = null;
      show();
    });
    RV.keys.start(byId('help'), byId('help-button'), () => view);
    RV.files.start(byId('open'), byId('file'));
    RV.server.listen((event) => {
      if (event.type === 'state') showState();
      if (event.type === 'changed') RV.memory.show(event.kept);
    });
    byId('skip').addEventListener('click', (event) => {
      event.preventDefault();
      document.querySelector('#view [tabindex="0"]')?.focus();
    });
    addEventListener('hashchange', show);
    RV.server.connect();
    showState();
    await names().catch(() => {});
    show();
    RV.server
      .transactions({}, null)
      .then(({ kept }) => RV.memory.show(kept))
      .catch(() => {});
  };

  RV.names = { known: names };
  RV.place = { remember };
  start();
})();
