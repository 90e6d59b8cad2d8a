// Transactions as they happen.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, foreign, icon } = RV.dom;

  const ROW_HEIGHT = 34;
  /** The first names of services or channels, as many as a window of this width shows, and how many more there are. */
  const names = (all, make) => {
    const most = Math.max(2, Math.floor(innerWidth / 700));
    return [
      all.slice(0, most).map(make),
      all.length > most &&
        h(
          'span.more',
          {
            title: all
              .slice(most, 40)
              .map((name) => RV.format.clipped(name, 80))
              .join(', '),
          },
          `+${all.length - most}`,
        ),
    ];
  };

  const cell = (kind, ...content) => h(`div.cell.${kind}`, { role: 'gridcell' }, content);

  const makeRow = (summary) => {
    const others = summary.services.filter((name) => name !== summary.service);
    return h(
      'div.row.transaction',
      { role: 'row', id: `transaction-${summary.trace}`, 'data-trace': summary.trace },
      cell('when', RV.dom.time(summary.start)),
      cell(
        'what',
        h(
          'a.open',
          { href: RV.route.trace(summary.trace), tabindex: '-1' },
          RV.dom.service(summary.service),
          foreign(summary.name, 120, 'bdi.foreign.name'),
        ),
        summary.missing_root && h('span.tag', { title: 'The span that all others come from has not arrived.' }, 'no root'),
      ),
      cell('took', RV.dom.duration(summary.duration_us)),
      cell('spans', RV.format.compact(summary.spans)),
      cell(
        'state',
        summary.errors > 0 && h('span.tag.is-error', icon('error'), RV.format.many(summary.errors, 'error')),
        summary.inferred > 0 &&
          h(
            'span.tag.is-inferred',
            { title: `${RV.format.many(summary.inferred, 'parent')} inferred, not known` },
            `${RV.format.compact(summary.inferred)} inferred`,
          ),
      ),
      cell(
        'others',
        names(others, (name) => RV.dom.service(name)),
      ),
      cell(
        'through',
        names(summary.channels, (name) =>
          h('a.channel', { href: RV.route.transactions({ channel: name }), tabindex: '-1' }, foreign(name, 60)),
        ),
      ),
    );
  };

  const HEADS = [
    ['when', 'Time'],
    ['what', 'Transaction'],
    ['took', 'Duration'],
    ['spans', 'Spans'],
    ['state', 'State'],
    ['others', 'Other services'],
    ['through', 'Channels'],
  ];

  // The transaction that was opened from the list, until the list is shown again.
  let lastOpened = null;

  class Transactions {
    constructor(place) {
      this.query = place.query;
      this.list = RV.listing.create();
      this.active = null;
      this.loading = null;
      this.isPointed = false;
      this.build();
    }

    build() {
      this.filters = RV.filters.create(this.query, RV.names.known, (query) => this.ask(query));
      this.scatter = RV.scatter.create((row) => {
        location.hash = RV.route.trace(row.trace);
      });
      this.fresh = h('button.fresh', { type: 'button', hidden: true, onclick: () => this.release(true) });
      this.summary = h('p.list-summary', { id: 'list-summary' });
      this.body = h('div.rows', { role: 'rowgroup' });
      this.grid = h(
        'div.list',
        {
          role: 'grid',
          tabindex: '0',
          'aria-label': 'Transactions, newest first',
          'aria-describedby': 'list-summary',
          onkeydown: (event) => this.key(event),
          onclick: (event) => this.click(event),
          onfocus: () => this.activate(this.active ?? this.list.rows[0]?.trace, false),
          onscroll: () => this.scrolled(),
        },
        h(
          'div.list-head',
          { role: 'rowgroup' },
          h(
            'div.row.head',
            { role: 'row', 'aria-rowindex': 1 },
            HEADS.map(([kind, name]) => h(`div.cell.${kind}`, { role: 'columnheader' }, name)),
          ),
        ),
        this.body,
      );
      this.nothing = h('div.nothing', { hidden: true });
      this.element = h(
        'section.page.transactions',
        h('h1.hidden-label', 'Transactions'),
        this.filters.element,
        this.scatter.element,
        // With the bar: the button for what is new must not vanish on the way there.
        h(
          'div.list-frame',
          { onpointerenter: () => this.point(true), onpointerleave: () => this.point(false) },
          h('div.list-bar', this.summary, this.fresh),
          this.grid,
          this.nothing,
        ),
      );
    }

    start() {
      this.rows = new RV.rows.VirtualRows({
        scroller: this.grid,
        body: this.body,
        rowHeight: ROW_HEIGHT,
        make: (row) => this.make(row),
        stamp: (row) => {
          const { trace, updated } = this.list.rows[row];
          return `${trace} ${updated}${trace === this.active ? ' active' : ''}`;
        },
      });
      this.stopListening = RV.server.listen((event) => this.hear(event));
      this.load(true);
    }

    end() {
      const next = RV.route.parse(location.hash);
      lastOpened = next.page === 'trace' ? next.trace : null;
      this.loading?.abort();
      clearTimeout(this.again);
      this.stopListening();
      this.rows.end();
      this.scatter.end();
      this.filters.end();
    }

    ask(query) {
      this.query = query;
      history.replaceState(null, '', RV.route.transactions(query));
      RV.place.remember();
      this.load(true);
    }

    async load(isFirst) {
      if (isFirst) this.loading?.abort();
      else if (this.loading) return;
      const loading = new AbortController();
      this.loading = loading;
      try {
        const page = await RV.server.transactions(this.query, isFirst ? null : this.list.cursor, loading.signal);
        if (loading !== this.loading) return;
        RV.listing.load(this.list, page, isFirst);
        RV.memory.show(page.kept);
        if (isFirst) this.grid.scrollTop = 0;
        this.draw(page.kept);
        this.comeBack();
      } catch (error) {
        if (loading !== this.loading || error.name === 'AbortError') return;
        RV.notice.show(error.message, true);
      } finally {
        if (loading === this.loading) this.loading = null;
      }
    }

    /** Whoever comes back from a transaction finds its row again. */
    comeBack() {
      if (lastOpened && this.list.byTrace.has(lastOpened)) this.activate(lastOpened);
      lastOpened = null;
    }

    hear(event) {
      if (event.type === 'missed') this.later();
      if (event.type !== 'changed') return;
      // Only the server knows what the text is searched in.
      if (this.query.text) {
        this.later();
        return;
      }
      const isHeld = this.isHeld();
      RV.listing.change(this.list, event.transactions, (summary) => RV.route.matches(summary, this.query), isHeld);
      this.draw(event.kept);
    }

    /** Asks again in a second, once, unless somebody reads. */
    later() {
      clearTimeout(this.again);
      this.again = setTimeout(() => (this.isHeld() ? this.later() : this.load(true)), 1_000);
    }

    isHeld() {
      return this.isPointed || this.grid.scrollTop > 4 || this.grid === document.activeElement;
    }

    point(isPointed) {
      this.isPointed = isPointed;
      if (!isPointed && !this.isHeld()) this.release(false);
    }

    release(toTop) {
      RV.listing.release(this.list);
      if (toTop) this.grid.scrollTop = 0;
      this.draw();
    }

    scrolled() {
      const { scrollTop, clientHeight, scrollHeight } = this.grid;
      if (this.list.cursor && scrollTop + clientHeight > scrollHeight - 20 * ROW_HEIGHT) this.load(false);
      if (this.list.waiting.size > 0 && !this.isHeld()) this.release(false);
    }

    draw(kept) {
      const { rows, waiting } = this.list;
      this.kept = kept ?? this.kept;
      this.rows.reorder(rows.length);
      this.grid.setAttribute('aria-rowcount', String(rows.length + 1));
      this.scatter.show(rows);
      this.fresh.hidden = waiting.size === 0;
      this.fresh.textContent = `${RV.format.count(waiting.size)} new – show`;
      this.showSummary(rows);
      this.showNothing(rows.length === 0);
    }

    showSummary(rows) {
      if (rows.length === 0) {
        this.summary.textContent = '';
        return;
      }
      const isSearch = Object.keys(this.query).length > 0;
      const all = this.list.cursor ? `the newest ${RV.format.count(rows.length)}` : RV.format.many(rows.length, 'transaction');
      const held = this.kept ? ` of ${RV.format.count(this.kept.transactions)} kept` : '';
      this.summary.textContent = `${all[0].toUpperCase()}${all.slice(1)}${isSearch && !this.list.cursor ? ' found' : ''}${held}`;
    }

    showNothing(isEmpty) {
      this.grid.hidden = isEmpty;
      this.nothing.hidden = !isEmpty;
      if (!isEmpty) return;
      RV.dom.fill(
        this.nothing,
        Object.keys(this.query).length > 0 && this.kept?.transactions > 0
          ? RV.notice.empty('Nothing is found', [
              'No transaction that is kept is what the search asks for. New ones that match appear here.',
            ])
          : RV.start.empty(this.kept),
      );
    }

    make(row) {
      const summary = this.list.rows[row];
      const element = makeRow(summary);
      element.setAttribute('aria-selected', String(summary.trace === this.active));
      return element;
    }

    activate(trace, isShown = true) {
      this.active = trace ?? null;
      const row = this.list.rows.findIndex((summary) => summary.trace === trace);
      if (row < 0) return;
      if (isShown) this.rows.show(row);
      this.rows.refresh();
      this.grid.setAttribute('aria-activedescendant', `transaction-${trace}`);
    }

    click(event) {
      if (event.target.closest('a')) return;
      const row = event.target.closest('[data-trace]');
      if (row && !getSelection().toString()) location.hash = RV.route.trace(row.dataset.trace);
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const { rows } = this.list;
      const at = rows.findIndex((summary) => summary.trace === this.active);
      const page = this.rows.page();
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: at + page, PageUp: at - page }[
        event.key
      ];
      if (event.key === 'Enter' && this.active) location.hash = RV.route.trace(this.active);
      else if (event.key === 'Escape') this.grid.blur();
      else if (to !== undefined && rows.length > 0) this.activate(rows[Math.max(0, Math.min(rows.length - 1, to))].trace);
      else return;
      event.preventDefault();
    }
  }

  RV.transactions = { Transactions };
})();
