// Channels: who publishes, who receives, and whether as many deliveries were seen as Redis said that there are receivers.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, foreign, icon } = RV.dom;

  const people = (all) =>
    all.length === 0
      ? h('span.muted', 'nobody seen')
      : h(
          'ul.people',
          [...all]
            .sort((a, b) => b.count - a.count)
            .map(({ service, count }) =>
              h(
                'li',
                h('a', { href: RV.route.transactions({ service }) }, RV.dom.service(service)),
                h('span.muted.number', RV.format.compact(count)),
              ),
            ),
        );

  /** What the receivers that Redis counted and the deliveries that were seen say together: `{kind, words, why}`. */
  const verdict = ({ receivers_said: said, deliveries_seen: seen, untraced }) => {
    const skipped = untraced.reduce((sum, { count }) => sum + count, 0);
    if (said === 0 && seen === 0) return { kind: 'plain', words: 'nobody listened', why: 'Redis counted no receiver.' };
    if (said === seen) return { kind: 'good', words: 'all seen', why: 'Each delivery that Redis counted was seen.' };
    if (seen > said) {
      return {
        kind: 'plain',
        words: `${RV.format.compact(seen - said)} more seen`,
        why: 'Some publishers have no sidecar, their spans have not arrived, or a connection has several subscriptions that match.',
      };
    }
    const missing = RV.format.compact(said - seen);
    if (skipped > 0)
      return { kind: 'warn', words: `${missing} not seen`, why: 'Some messages were not followed; the reasons stand beside this.' };
    return {
      kind: 'warn',
      words: `${missing} not seen`,
      why: 'Some receivers are without a sidecar, or their spans have not arrived yet.',
    };
  };

  const row = (channel) => {
    const { kind, words, why } = verdict(channel);
    return h(
      'tr',
      h(
        'th',
        { scope: 'row' },
        h('a.channel', { href: RV.route.transactions({ channel: channel.name }) }, foreign(channel.name, 80)),
        channel.template &&
          h('span.tag', { title: 'A template: it stands for channels whose names differ in an id only' }, 'template'),
      ),
      h('td', people(channel.publishers)),
      h('td', people(channel.receivers)),
      h('td.number', RV.format.count(channel.messages)),
      h('td.number', RV.format.count(channel.receivers_said)),
      h('td.number', RV.format.count(channel.deliveries_seen)),
      h(
        'td',
        h(
          'span.verdict',
          { class: `verdict is-${kind}`, title: why },
          kind === 'warn' ? icon('error') : kind === 'good' && icon('check'),
          words,
        ),
        h('span.hidden-label', why),
      ),
      h(
        'td',
        channel.untraced.length === 0
          ? h('span.muted', 'none')
          : h(
              'ul.people',
              channel.untraced.map(({ reason, count }) =>
                h('li', h('a', { href: '#/untraced' }, foreign(reason, 60)), h('span.muted.number', RV.format.compact(count))),
              ),
            ),
      ),
      h('td.number', channel.last ? RV.dom.time(channel.last) : ''),
    );
  };

  /** Rows of the table, which is made anew while spans arrive. */
  const MOST_ROWS = 300;

  const HEADS = [
    ['Channel'],
    ['Published by'],
    ['Received by'],
    ['Messages', 'number'],
    ['Receivers, says Redis', 'number'],
    ['Deliveries seen', 'number'],
    ['Together'],
    ['Not followed, because'],
    ['Last', 'number'],
  ];

  class Channels {
    constructor() {
      this.body = h('tbody');
      this.filter = h('input', {
        type: 'search',
        id: 'search',
        placeholder: 'Channel or service',
        autocomplete: 'off',
        oninput: () => this.draw(),
        'aria-keyshortcuts': '/',
      });
      this.table = h(
        'div.table-frame',
        { tabindex: '0', role: 'region', 'aria-label': 'Channels' },
        h(
          'table',
          h('caption.hidden-label', 'Channels'),
          h(
            'thead',
            h(
              'tr',
              HEADS.map(([name, kind]) => h('th', { scope: 'col', class: kind ?? null }, name)),
            ),
          ),
          this.body,
        ),
      );
      this.nothing = h('div', { hidden: true });
      this.counted = h('span.muted');
      this.element = h(
        'section.page.channels',
        h(
          'header.page-head',
          h('h1', 'Channels'),
          this.counted,
          h('div.spacer'),
          h(
            'label.field.search',
            icon('search'),
            h('span.hidden-label', 'Find a channel'),
            this.filter,
            h('kbd', { 'aria-hidden': 'true' }, '/'),
          ),
        ),
        this.table,
        this.nothing,
      );
      this.channels = [];
    }

    start() {
      this.refresher = RV.refresh.start('channels', ({ channels }) => {
        this.channels = [...channels].sort((a, b) => (a.name < b.name ? -1 : 1));
        this.draw();
      });
    }

    end() {
      this.refresher.end();
    }

    draw() {
      const wanted = this.filter.value.trim().toLowerCase();
      const has = (name) => name.toLowerCase().includes(wanted);
      const shown = this.channels.filter(
        ({ name, publishers, receivers }) => has(name) || [...publishers, ...receivers].some(({ service }) => has(service)),
      );
      const isEmpty = this.channels.length === 0;
      this.table.hidden = isEmpty;
      this.nothing.hidden = !isEmpty;
      if (isEmpty && !this.nothing.firstChild) RV.dom.fill(this.nothing, RV.start.empty());
      this.counted.textContent = isEmpty
        ? ''
        : wanted
          ? `${RV.format.count(shown.length)} of ${RV.format.count(this.channels.length)}`
          : RV.format.count(shown.length);
      if (!getSelection().toString() || !this.body.firstChild) this.replace(shown.slice(0, MOST_ROWS).map(row));
      if (shown.length > MOST_ROWS) this.counted.textContent += `, of which the first ${RV.format.count(MOST_ROWS)} are shown`;
    }

    // The focus stays on the link that it was on.
    replace(rows) {
      const focused = this.body.contains(document.activeElement)
        ? [...this.body.querySelectorAll('a')].indexOf(document.activeElement)
        : -1;
      RV.dom.fill(this.body, rows);
      if (focused >= 0) this.body.querySelectorAll('a')[focused]?.focus({ preventScroll: true });
    }
  }

  RV.channels = { Channels, verdict };
})();
