// Messages that carry no trace, and why.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, foreign } = RV.dom;

  /** Rows of the table, the newest ones. It is made anew while spans arrive. */
  const MOST_ROWS = 300;

  const message = ({ trace, span, at, service, channel, reason }) =>
    h(
      'tr',
      h('td.when', RV.dom.time(at)),
      h('td', RV.dom.service(service)),
      h(
        'td',
        channel ? h('a.channel', { href: RV.route.transactions({ channel }) }, foreign(channel, 80)) : h('span.muted', 'not named'),
      ),
      h('td', foreign(reason, 60)),
      h(
        'td',
        h(
          'a',
          { href: RV.route.trace(trace, span), 'aria-label': `Show the publish at ${RV.format.time(at)}` },
          'Show the publish',
        ),
      ),
    );

  class Untraced {
    constructor() {
      this.reasons = h('ul.reasons');
      this.body = h('tbody');
      this.content = h(
        'div.untraced-content',
        this.reasons,
        h(
          'div.table-frame',
          { tabindex: '0', role: 'region', 'aria-label': 'Messages without a trace' },
          h(
            'table',
            h('caption.hidden-label', 'Messages without a trace, newest first'),
            h(
              'thead',
              h(
                'tr',
                h('th.when', { scope: 'col' }, 'Time'),
                ['Published by', 'Channel', 'Reason', 'Transaction'].map((name) => h('th', { scope: 'col' }, name)),
              ),
            ),
            this.body,
          ),
        ),
      );
      this.nothing = h('div', { hidden: true });
      this.element = h(
        'section.page.untraced',
        h(
          'header.page-head',
          h('h1', 'Messages without a trace'),
          h('p.muted', 'Each was published and has a span, but got no context, so what its receivers did is not below it.'),
        ),
        this.content,
        this.nothing,
      );
    }

    start() {
      this.refresher = RV.refresh.start('untraced', (answer) => this.show(answer));
    }

    end() {
      this.refresher.end();
    }

    show({ messages, reasons }) {
      const isEmpty = messages.length === 0 && reasons.length === 0;
      this.content.hidden = isEmpty;
      this.nothing.hidden = !isEmpty;
      if (isEmpty) {
        if (!this.nothing.firstChild) {
          RV.dom.fill(
            this.nothing,
            RV.notice.empty('None', [
              'Every message whose publish is kept here carries its trace. Those that do not will be listed with the reason.',
            ]),
          );
        }
        return;
      }
      RV.dom.fill(
        this.reasons,
        reasons.map(({ reason, count, explanation }) =>
          h(
            'li.reason',
            h('span.reason-count', RV.format.count(count)),
            h('div', h('h2', foreign(reason, 60)), h('p', foreign(explanation, 600))),
          ),
        ),
      );
      if (getSelection().toString() && this.body.firstChild) return;
      const focused = this.body.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
      RV.dom.fill(this.body, messages.slice(0, MOST_ROWS).map(message));
      if (focused) this.body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
  }

  RV.untraced = { Untraced };
})();
