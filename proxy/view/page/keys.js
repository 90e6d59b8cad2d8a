// Keys that work everywhere, and the page that lists all of them.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h } = RV.dom;

  const EVERYWHERE = [
    ['/', 'Search'],
    ['?', 'This list'],
    ['1 2 3 4', 'Transactions, graph, channels, without a trace'],
    ['Backspace', 'Back to where you came from'],
  ];
  const LIST = [
    ['↑ ↓', 'Go through the transactions'],
    ['Enter', 'Open the transaction'],
  ];
  const TRACE = [
    ['↑ ↓', 'Go through the spans'],
    ['← →', 'Close or open a span, or go to its parent or first child'],
    ['Enter', 'Details of the span'],
    ['Escape', 'Close the details'],
    ['*', 'Close or open all'],
    ['e', 'Next error'],
    ['z', 'Show the time of the span'],
    ['0', 'Show the whole time'],
    ['+ −', 'Show less or more time'],
    ['Shift ← →', 'Earlier or later'],
    ['Enter in the search', 'Next span that is found, with Shift the one before'],
  ];

  const area = (name, keys) =>
    h(
      'section',
      h('h3', name),
      h(
        'dl.keys',
        keys.map(([key, words]) =>
          h(
            'div',
            h(
              'dt',
              key.split(' ').map((one) => (/^[a-z]/.test(one) && one.length > 1 ? h('span', ` ${one} `) : h('kbd', one))),
            ),
            h('dd', words),
          ),
        ),
      ),
    );

  const isOff = () => RV.theme.setting('keys') === 'off';

  const help = (dialog) => {
    const box = h('input', {
      type: 'checkbox',
      checked: !isOff(),
      onchange: (event) => RV.theme.setSetting('keys', event.target.checked ? 'on' : 'off'),
    });
    RV.dom.fill(
      dialog,
      h(
        'header.dialog-head',
        h('h2', { id: 'help-title' }, 'Keys'),
        RV.dom.iconButton('close', 'Close', () => dialog.close()),
      ),
      h('div.dialog-columns', h('div', area('Everywhere', EVERYWHERE), area('Transactions', LIST)), area('One transaction', TRACE)),
      h(
        'section',
        h('h3', 'How it is drawn'),
        h(
          'dl.keys.signs',
          h('div', h('dt', h('span.sign-bar')), h('dd', 'A span whose parent is known: a context has told it.')),
          h(
            'div',
            h('dt', h('span.sign-bar.is-inferred')),
            h('dd', 'A span whose parent the sidecar has inferred from what the service received and sent. It is not proven.'),
          ),
          h('div', h('dt', h('span.sign-bar.is-error')), h('dd', 'A span that failed.')),
        ),
      ),
      h('label.field.check', box, h('span', 'Keys of one character work everywhere on the page')),
    );
    dialog.showModal();
  };

  const isTyping = (element) =>
    element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement || element instanceof HTMLSelectElement;

  /** `view()` is the view that is shown. */
  const start = (dialog, button, view) => {
    const pages = RV.route.PAGES;
    button.addEventListener('click', () => help(dialog));
    // A click beside the dialog closes it.
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    document.addEventListener('keydown', (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || dialog.open || isTyping(event.target)) return;
      if (event.key === 'Backspace' && !isOff()) history.back();
      else if (isOff()) return;
      else if (event.key === '/') focusSearch();
      else if (event.key === '?') help(dialog);
      else if (/^[1-4]$/.test(event.key)) location.hash = `#/${pages[Number(event.key) - 1]}`;
      else if (event.key === 'e') view().nextError?.();
      else return;
      event.preventDefault();
    });
  };

  const focusSearch = () => {
    const search = document.getElementById('search');
    search?.focus();
    search?.select();
  };

  RV.keys = { start };
})();
