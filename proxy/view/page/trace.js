// One transaction: its head, the strip with the whole of it, the waterfall, and the details of a span.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, foreign, icon } = RV.dom;

  class Trace {
    constructor(place) {
      this.id = place.trace;
      this.span = place.span;
      this.progress = h('p.loading', { role: 'status' }, 'Loading the transaction …');
      this.element = h('section.page.trace', h('h1.hidden-label', 'Transaction'), this.progress);
      this.seen = null;
    }

    start() {
      this.stopListening = RV.server.listen((event) => this.hear(event));
      this.loading = new AbortController();
      this.load();
    }

    end() {
      this.stopListening();
      this.loading.abort();
      clearTimeout(this.timer);
      this.endParts();
    }

    endParts() {
      this.waterfall?.end();
      this.minimap?.end();
    }

    async load() {
      try {
        const answer = await RV.server.transaction(this.id, this.loading.signal, (n) => {
          if (!this.tree) this.progress.textContent = `Loading the transaction: ${RV.format.many(n, 'span')} so far …`;
        });
        this.build(answer);
      } catch (error) {
        if (error.name === 'AbortError') return;
        RV.dom.fill(
          this.element,
          h('h1.hidden-label', 'Transaction'),
          RV.notice.empty(error.status === 404 ? 'This transaction is not kept' : 'The transaction cannot be shown', [
            error.status === 404
              ? 'It may have been forgotten to make room for newer ones, or it has not arrived yet.'
              : error.message,
          ]),
          h('p.empty', h('code', this.id)),
        );
      }
    }

    /** Another span of the same transaction is wanted. */
    move(place) {
      this.span = place.span;
      const at = this.tree?.byId.get(place.span);
      if (at !== undefined && at !== this.waterfall.active) this.waterfall.go(at, true);
      else if (at !== undefined) this.choose(at, true);
    }

    build({ summary, resources, spans }) {
      const before = this.waterfall && {
        collapsed: this.ids(this.waterfall.collapsed),
        view: this.waterfall.view,
        tree: this.tree,
        top: this.waterfall.grid.scrollTop,
      };
      this.endParts();
      this.summary = summary;
      this.seen = summary.updated;
      this.resources = resources;
      this.tree = RV.tree.build(spans);
      const { tree } = this;
      this.waterfall = new RV.waterfall.Waterfall({
        tree,
        resources,
        chosen: (i, isOpened, isFocused) => this.choose(i, isOpened, isFocused),
        viewed: (view) => this.minimap.show(view),
      });
      const colours = RV.theme.serviceColours();
      const colourOf = (span) => colours[RV.colours.of(RV.colours.shared, resources[span.resource]?.service ?? '')];
      this.minimap = RV.minimap.create(tree, colourOf, (view) =>
        this.waterfall.show(view === undefined ? this.waterfall.view : view),
      );
      this.details = new RV.details.Details({
        tree,
        summary,
        resources,
        go: (i) => this.waterfall.go(i, true),
        close: () => this.closeDetails(),
      });
      this.stale = h('button.fresh', { type: 'button', hidden: true, onclick: () => this.load() });
      RV.dom.fill(
        this.element,
        this.head(),
        this.minimap.element,
        h('div.trace-body', this.waterfall.element, this.details.element),
      );
      this.waterfall.start();
      this.minimap.show(this.waterfall.view);
      if (before) this.restore(before);
      const wanted = tree.byId.get(this.span);
      if (wanted !== undefined) this.waterfall.go(wanted, true);
      else if (this.span) RV.notice.show('The span of this link is not among those that have arrived.', true);
      if (!before) this.waterfall.grid.focus({ preventScroll: true });
      document.title = `${RV.format.clipped(summary.name, 60)} – redistributed view`;
    }

    ids(set) {
      return [...set].map((i) => this.tree.spans[i].id);
    }

    // After more spans have arrived: what was closed stays closed, and the window where it was.
    restore({ collapsed, view, tree, top }) {
      for (const id of collapsed) {
        const i = this.tree.byId.get(id);
        if (i !== undefined) this.waterfall.collapsed.add(i);
      }
      this.waterfall.redraw();
      if (view.from !== tree.from || view.to !== tree.to) this.waterfall.show(view);
      this.waterfall.grid.scrollTop = top;
    }

    head() {
      const { summary, tree } = this;
      const services = [...new Set(this.resources.map((resource) => resource.service))];
      this.search = h('input', {
        type: 'search',
        id: 'search',
        placeholder: 'Find in this transaction',
        autocomplete: 'off',
        spellcheck: 'false',
        'aria-keyshortcuts': '/',
        oninput: () => this.findSoon(),
        onkeydown: (event) => this.searchKey(event),
      });
      this.foundCount = h('output.found-count');
      return h(
        'header.trace-head',
        h(
          'div.trace-title',
          h('h1', RV.dom.service(summary.service), foreign(summary.name, 200, 'bdi.foreign.name')),
          this.stale,
          h(
            'div.trace-buttons',
            h('a.button', { href: RV.server.download(this.id, 'jaeger'), download: true }, icon('save'), 'Jaeger JSON'),
            h('a.button', { href: RV.server.download(this.id, 'otlp'), download: true }, icon('save'), 'OTLP JSON'),
          ),
        ),
        h(
          'div.trace-facts',
          h(
            'span.fact',
            h('code.trace-id', this.id),
            RV.dom.iconButton('copy', 'Copy the trace id', () => RV.dom.copy(this.id, 'Trace id')),
          ),
          h('span.fact', RV.dom.time(summary.start)),
          h('span.fact.strong', RV.dom.duration(tree.to - tree.from)),
          h('span.fact', RV.format.many(tree.spans.length, 'span')),
          h('span.fact', RV.format.many(services.length, 'service')),
          summary.errors > 0 &&
            h(
              'button.tag.is-error',
              { type: 'button', title: 'Go to the next one', onclick: () => this.nextError() },
              icon('error'),
              RV.format.many(summary.errors, 'error'),
            ),
          summary.inferred > 0 &&
            h(
              'span.tag.is-inferred',
              { title: 'Their parents are inferred, not known: dashed bars and lines' },
              `${RV.format.count(summary.inferred)} inferred`,
            ),
          summary.missing_root && h('span.tag', { title: 'The span that all others come from has not arrived.' }, 'no root'),
        ),
        h(
          'div.trace-tools',
          h(
            'label.field.search',
            icon('search'),
            h('span.hidden-label', 'Find in this transaction'),
            this.search,
            this.foundCount,
            h('kbd', { 'aria-hidden': 'true' }, '/'),
          ),
          h(
            'div.legend',
            services.slice(0, 12).map((name) => RV.dom.service(name)),
            services.length > 12 && h('span.more', `+${services.length - 12}`),
          ),
          h(
            'button.quiet',
            { type: 'button', onclick: () => this.waterfall.collapseAll(this.waterfall.collapsed.size === 0) },
            'Collapse or expand all',
          ),
          h('button.quiet', { type: 'button', onclick: () => this.waterfall.show(null) }, 'Whole time'),
        ),
      );
    }

    choose(i, isOpened, isFocused) {
      const { id } = this.tree.spans[i];
      if (isOpened || !this.details.element.hidden) this.details.show(i);
      if (isFocused) this.details.focus();
      this.span = id;
      history.replaceState(null, '', RV.route.trace(this.id, isOpened || !this.details.element.hidden ? id : null));
    }

    closeDetails() {
      this.details.element.hidden = true;
      this.span = null;
      history.replaceState(null, '', RV.route.trace(this.id));
      this.waterfall.grid.focus({ preventScroll: true });
    }

    hear(event) {
      if (event.type !== 'changed' || !this.tree) return;
      const summary = event.transactions.find(({ trace }) => trace === this.id);
      if (!summary || summary.updated <= this.seen) return;
      const more = summary.spans - this.tree.spans.length;
      if (more <= 0) return;
      this.stale.textContent = `${RV.format.many(more, 'more span')} – show`;
      this.stale.hidden = false;
    }

    findSoon() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.find(), 150);
    }

    find() {
      this.searched = this.search.value.trim();
      this.matches = RV.tree.find(
        this.tree,
        this.resources.map(({ service }) => service),
        this.searched,
      );
      this.match = -1;
      this.waterfall.setFound(new Set(this.matches));
      this.foundCount.textContent = this.searched ? RV.format.count(this.matches.length) : '';
      this.foundCount.title = this.searched ? 'Enter goes to the next one' : '';
    }

    nextMatch(step) {
      if (!this.matches?.length) return;
      this.match = (this.match + step + this.matches.length) % this.matches.length;
      this.waterfall.go(this.matches[this.match]);
      this.foundCount.textContent = `${RV.format.count(this.match + 1)} of ${RV.format.count(this.matches.length)}`;
    }

    nextError() {
      const { order, spans, position } = this.tree;
      const failed = order.filter((i) => spans[i].status === 'error');
      const next = failed.find((i) => position[i] > position[this.waterfall.active]) ?? failed[0];
      if (next === undefined) return;
      this.waterfall.go(next, true);
      this.waterfall.grid.focus({ preventScroll: true });
    }

    searchKey(event) {
      if (event.key === 'Enter') {
        event.preventDefault();
        clearTimeout(this.timer);
        if (this.searched !== this.search.value.trim()) this.find();
        this.nextMatch(event.shiftKey ? -1 : 1);
      } else if (event.key === 'Escape' && this.search.value === '') {
        this.waterfall.grid.focus({ preventScroll: true });
      }
    }
  }

  RV.trace = { Trace };
})();
