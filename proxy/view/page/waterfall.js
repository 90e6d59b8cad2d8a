// The waterfall: the tree of a transaction's spans, each with its bar in time.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, s, foreign, icon } = RV.dom;

  const ROW_HEIGHT = 25;
  /** How far a span is indented below its parent, in pixels: less where the tree is deep and its column narrow. */
  const INDENT = 14;
  const LEAST_INDENT = 4;
  /** What is left of the column for names, in pixels, however deep they stand. */
  const NAMES = 190;
  /** Deeper spans are not indented further; their depth is told in words. */
  const DEEPEST = 24;
  /** Marks of events on one bar; of more only these are drawn. */
  const MOST_MARKS = 40;
  const KINDS = {
    server: 'server',
    client: 'client',
    producer: 'producer',
    consumer: 'consumer',
    internal: 'internal',
    unspecified: 'no kind',
  };

  class Waterfall {
    /** `resources` are those of the spans; `chosen(index, isOpened)` is called when a person goes to a span. */
    constructor({ tree, resources, chosen, viewed }) {
      Object.assign(this, { tree, resources, chosen, viewed });
      this.collapsed = new Set();
      this.visible = tree.order;
      this.active = tree.order[0] ?? RV.tree.NONE;
      this.found = new Set();
      this.view = { from: tree.from, to: tree.to };
      this.version = 0;
      this.indent = INDENT;
      this.deepest = Math.min(
        DEEPEST,
        tree.depth.reduce((most, depth) => Math.max(most, depth), 0),
      );
      this.build();
    }

    build() {
      this.ruler = h('div.ruler');
      this.lines = h('div.lines', { 'aria-hidden': 'true' });
      this.body = h('div.rows', { role: 'rowgroup' });
      this.splitter = h('div.splitter', {
        role: 'separator',
        tabindex: '0',
        'aria-orientation': 'vertical',
        'aria-label': 'Width of the names',
        'aria-valuemin': '15',
        'aria-valuemax': '75',
        onpointerdown: (event) => this.drag(event),
        onkeydown: (event) => this.splitKey(event),
      });
      this.grid = h(
        'div.waterfall',
        {
          role: 'treegrid',
          tabindex: '0',
          'aria-label': 'Spans of the transaction',
          'aria-readonly': 'true',
          onkeydown: (event) => this.key(event),
          onclick: (event) => this.click(event),
          ondblclick: (event) => this.doubleClick(event),
        },
        h(
          'div.waterfall-head',
          { role: 'rowgroup' },
          h(
            'div.span.head',
            { role: 'row', 'aria-rowindex': 1 },
            h('div.cell.tree', { role: 'columnheader' }, 'Span'),
            h('div.cell.began', { role: 'columnheader' }, 'Start'),
            h('div.cell.took', { role: 'columnheader' }, 'Duration'),
            h('div.cell.line', { role: 'columnheader', 'aria-label': 'Timeline' }, this.ruler),
          ),
        ),
        this.lines,
        this.body,
      );
      this.element = h('div.waterfall-frame', this.grid, this.splitter);
      this.grid.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
      this.split(Number(RV.theme.setting('split')) || 42);
    }

    start() {
      this.rows = new RV.rows.VirtualRows({
        scroller: this.grid,
        body: this.body,
        rowHeight: ROW_HEIGHT,
        make: (row) => this.make(row),
        stamp: (row) => `${this.visible[row]} ${this.version}${this.visible[row] === this.active ? ' active' : ''}`,
      });
      this.treeHead = this.grid.querySelector('.head .tree');
      this.watch = new ResizeObserver(() => this.rule());
      this.watch.observe(this.ruler);
      this.rule();
      this.redraw();
    }

    end() {
      this.rows.end();
      this.watch.disconnect();
    }

    /** Draws all rows in sight anew, after what they show has changed. */
    redraw() {
      this.version += 1;
      this.visible = RV.tree.rows(this.tree, this.collapsed);
      this.grid.setAttribute('aria-rowcount', String(this.visible.length + 1));
      this.rows.setCount(this.visible.length);
      this.pointOut();
    }

    rule() {
      const width = this.ruler.clientWidth;
      if (width === 0) return;
      const { from, to } = this.view;
      const { distance, all } = RV.scale.ticks(from, to, Math.max(2, Math.floor(width / 110)));
      const x = (us) => ((us - from) / (to - from)) * width;
      RV.dom.fill(
        this.ruler,
        all.map((us) =>
          h(
            'span.tick',
            {
              css: { left: `${x(us)}px` },
              class: x(us) > width - 60 ? 'tick is-last' : 'tick',
            },
            RV.scale.label(us, distance),
          ),
        ),
      );
      this.indentBy(this.treeHead.clientWidth);
      this.element.style.setProperty('--scrollbar', `${this.grid.offsetWidth - this.grid.clientWidth}px`);
      const left = this.ruler.getBoundingClientRect().left - this.grid.getBoundingClientRect().left;
      RV.dom.fill(
        this.lines,
        all.map((us) => h('i', { css: { left: `${left + x(us)}px` } })),
      );
    }

    indentBy(width) {
      const indent = Math.max(LEAST_INDENT, Math.min(INDENT, Math.floor((width - NAMES) / Math.max(1, this.deepest))));
      if (indent === this.indent) return;
      this.indent = indent;
      this.version += 1;
      this.rows.refresh();
    }

    show(view) {
      this.view = RV.scale.within(view ?? this.tree, this.tree.from, this.tree.to);
      this.rule();
      this.version += 1;
      this.rows.refresh();
      this.viewed(this.view);
    }

    make(row) {
      const { tree } = this;
      const i = this.visible[row];
      const span = tree.spans[i];
      const isInner = tree.first[i] !== RV.tree.NONE;
      const isOpen = isInner && !this.collapsed.has(i);
      const isActive = i === this.active;
      const isError = span.status === 'error';
      const element = h(
        'div.span',
        {
          role: 'row',
          id: `span-${i}`,
          'data-span': i,
          'aria-level': tree.depth[i] + 1,
          'aria-selected': String(isActive),
          'aria-expanded': isInner ? String(isOpen) : null,
        },
        this.nameCell(i, span, isInner, isOpen),
        h('div.cell.began', { role: 'gridcell', title: RV.format.exactDuration(span.start_us) }, RV.format.offset(span.start_us)),
        h(
          'div.cell.took',
          { role: 'gridcell', title: RV.format.exactDuration(span.duration_us) },
          RV.format.duration(span.duration_us),
        ),
        h('div.cell.line', { role: 'gridcell' }, this.bar(i, span, isError)),
      );
      element.classList.toggle('is-active', isActive);
      element.classList.toggle('is-found', this.found.has(i));
      element.classList.toggle('is-error', isError);
      return element;
    }

    nameCell(i, span, isInner, isOpen) {
      const { tree } = this;
      const depth = Math.min(tree.depth[i], DEEPEST);
      const service = this.resources[span.resource]?.service ?? '';
      const hidden = tree.size[i] - 1;
      const links = span.links.length + span.linked_from.length;
      const failedBelow = !isOpen && isInner ? tree.errors[i] - (span.status === 'error' ? 1 : 0) : 0;
      return h(
        'div.cell.tree',
        { role: 'gridcell' },
        this.guides(i, depth),
        isInner &&
          h('span.toggle', { css: { left: `${depth * this.indent}px` }, 'aria-hidden': 'true' }, icon(isOpen ? 'down' : 'right')),
        h(
          'span.name',
          { css: { 'padding-left': `${depth * this.indent + 24}px` } },
          tree.depth[i] > DEEPEST && h('span.tag', { title: 'How deep the span stands' }, tree.depth[i] + 1),
          RV.dom.swatch(service),
          foreign(service, 24, 'bdi.service-name'),
          icon(Object.hasOwn(KINDS, span.kind) && span.kind !== 'unspecified' ? span.kind : 'internal', KINDS[span.kind]),
          foreign(span.name, 160, 'bdi.span-name'),
        ),
        span.status === 'error' && h('span.tag.is-error', icon('error'), 'error'),
        failedBelow > 0 && h('span.tag.is-error', icon('error'), `${RV.format.compact(failedBelow)} below`),
        RV.tree.isOrphan(tree, i) && h('span.tag', { title: 'The span above this one has not arrived.' }, 'parent missing'),
        links > 0 &&
          h(
            'span.tag.is-link',
            { title: `${RV.format.many(links, 'link')} to or from other spans` },
            icon('link'),
            links > 1 && links,
          ),
        isInner && !isOpen && h('span.tag', { title: `${RV.format.many(hidden, 'span')} below` }, `+${RV.format.compact(hidden)}`),
      );
    }

    // The lines of the tree: a corner to this span, and one for each span above it that has another child further down.
    guides(i, depth) {
      if (depth === 0) return null;
      const { tree, indent } = this;
      const x = (level) => level * indent + 12.5;
      let lines = '';
      let at = i;
      for (let level = depth - 1; level >= 0; level -= 1) {
        if (tree.next[at] !== RV.tree.NONE) lines += `M${x(level)} 0V${ROW_HEIGHT}`;
        at = tree.parent[at];
      }
      const corner = `M${x(depth - 1)} ${ROW_HEIGHT / 2}h${Math.max(3, indent - 5)}`;
      if (tree.next[i] === RV.tree.NONE) lines += `M${x(depth - 1)} 0V${ROW_HEIGHT / 2}`;
      const isInferred = Boolean(tree.spans[i].inferred);
      return s(
        'svg.guides',
        { 'aria-hidden': 'true', width: x(depth), height: ROW_HEIGHT },
        s('path', { d: isInferred ? lines : lines + corner }),
        isInferred && s('path.is-inferred', { d: corner }),
      );
    }

    bar(i, span, isError) {
      const { from, to } = this.view;
      const percent = (us) => ((us - from) / (to - from)) * 100;
      const begin = percent(span.start_us);
      const end = percent(span.start_us + Math.max(0, span.duration_us));
      const words = RV.tree.note(this.tree, i);
      const note = [
        span.inferred && h('span.inferred-note', `inferred: ${RV.format.clipped(span.inferred, 40)}`),
        words && foreign(words, 60, isError ? 'bdi.note-error' : 'bdi.note-words'),
      ];
      if (end < 0 || begin > 100)
        return h('span.outside', { class: end < 0 ? 'outside is-before' : 'outside' }, end < 0 ? '◂' : '▸');
      const left = Math.max(-1, begin);
      const width = Math.min(101, end) - left;
      const bar = h(
        'div.bar',
        { 'data-colour': RV.colours.of(RV.colours.shared, this.resources[span.resource]?.service ?? '') },
        span.events.slice(0, MOST_MARKS).map((event) => this.mark(span, event)),
      );
      RV.dom.place(bar, `${left}%`, `${width}%`);
      bar.classList.toggle('is-inferred', Boolean(span.inferred));
      bar.classList.toggle('is-error', isError);
      return [bar, note.some(Boolean) && this.beside(note, left, left + width)];
    }

    // Behind the bar where there is room, otherwise in front of it, otherwise on it.
    beside(note, begin, end) {
      const side = end < 72 ? 'is-behind' : begin > 28 ? 'is-in-front' : 'is-on';
      const element = h('span.note', note);
      element.classList.add(side);
      if (side === 'is-behind') element.style.setProperty('left', `${end}%`);
      else if (side === 'is-in-front') element.style.setProperty('right', `${100 - begin}%`);
      else element.style.setProperty('left', `${Math.max(0, begin)}%`);
      return element;
    }

    mark(span, event) {
      // Times of events count from the start of the transaction, as those of spans do.
      const after = event.at_us - span.start_us;
      const at = span.duration_us > 0 ? Math.min(100, Math.max(0, (after / span.duration_us) * 100)) : 0;
      return h('i.mark', {
        css: { left: `${at}%` },
        title: `${RV.format.clipped(event.name, 80)} after ${RV.format.duration(after)}`,
      });
    }

    pointOut() {
      if (this.active === RV.tree.NONE) return;
      const isShown = this.visible[RV.tree.rowOf(this.tree, this.visible, this.active)] === this.active;
      if (isShown && document.getElementById(`span-${this.active}`))
        this.grid.setAttribute('aria-activedescendant', `span-${this.active}`);
      else this.grid.removeAttribute('aria-activedescendant');
    }

    /** Goes to span `i`: shows it, and says so. `isOpened` if a person asked for its details. */
    go(i, isOpened = false) {
      if (RV.tree.reveal(this.tree, this.collapsed, i)) this.redraw();
      this.active = i;
      this.rows.show(RV.tree.rowOf(this.tree, this.visible, i));
      this.rows.refresh();
      this.pointOut();
      this.chosen(i, isOpened);
    }

    toggle(i) {
      if (!this.collapsed.delete(i)) this.collapsed.add(i);
      this.redraw();
      this.settle();
    }

    collapseAll(isCollapsed) {
      this.collapsed = isCollapsed ? RV.tree.inner(this.tree) : new Set();
      if (isCollapsed)
        for (let k = 0; k < this.tree.order.length; k += this.tree.size[this.tree.order[k]])
          this.collapsed.delete(this.tree.order[k]);
      this.redraw();
      this.settle();
    }

    // The active span is always one that is shown.
    settle() {
      if (this.active === RV.tree.NONE) return;
      const row = RV.tree.rowOf(this.tree, this.visible, this.active);
      if (this.visible[row] !== this.active) this.go(this.visible[row]);
      else this.rows.show(row);
    }

    setFound(found) {
      this.found = found;
      this.version += 1;
      this.rows.refresh();
    }

    click(event) {
      const row = event.target.closest('[data-span]');
      if (!row) return;
      const i = Number(row.dataset.span);
      if (event.target.closest('.toggle') && this.tree.first[i] !== RV.tree.NONE) {
        this.toggle(i);
      } else if (!getSelection().toString()) {
        this.go(i, true);
      }
    }

    doubleClick(event) {
      const row = event.target.closest('.tree') && event.target.closest('[data-span]');
      if (!row || event.target.closest('.toggle') || this.tree.first[Number(row.dataset.span)] === RV.tree.NONE) return;
      getSelection().removeAllRanges();
      this.toggle(Number(row.dataset.span));
    }

    wheel(event) {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = this.ruler.getBoundingClientRect();
      const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.view.from + part * (this.view.to - this.view.from));
    }

    zoom(factor, at = (this.view.from + this.view.to) / 2) {
      this.show(RV.scale.zoomed(this.view, factor, at));
    }

    /** Shows the time of the active span, with a little around it. */
    zoomToActive() {
      const span = this.tree.spans[this.active];
      if (!span) return;
      const room = Math.max(span.duration_us * 0.08, 0.01);
      this.show({ from: span.start_us - room, to: span.start_us + span.duration_us + room });
    }

    pan(part) {
      const by = (this.view.to - this.view.from) * part;
      this.show({ from: this.view.from + by, to: this.view.to + by });
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target !== this.grid) return;
      const does = this.keyMoves(event) ?? this.keyTree(event.key);
      if (!does) return;
      event.preventDefault();
      does();
    }

    keyMoves({ key, shiftKey }) {
      const { visible } = this;
      const row = RV.tree.rowOf(this.tree, visible, this.active);
      const step = {
        ArrowDown: 1,
        ArrowUp: -1,
        PageDown: this.rows.page(),
        PageUp: -this.rows.page(),
        Home: -row,
        End: visible.length,
      }[key];
      if (step !== undefined) return () => this.go(visible[Math.max(0, Math.min(visible.length - 1, row + step))]);
      if (shiftKey && key === 'ArrowLeft') return () => this.pan(-0.2);
      if (shiftKey && key === 'ArrowRight') return () => this.pan(0.2);
      return { '+': () => this.zoom(0.6), '-': () => this.zoom(1 / 0.6), 0: () => this.show(null), z: () => this.zoomToActive() }[
        key
      ];
    }

    keyTree(key) {
      const { tree, active: i } = this;
      const isInner = tree.first[i] !== RV.tree.NONE;
      const isOpen = isInner && !this.collapsed.has(i);
      if (key === 'Enter' || key === ' ') return () => this.chosen(i, true, true);
      if (key === 'ArrowRight') return () => (isInner && !isOpen ? this.toggle(i) : isInner && this.go(tree.first[i]));
      if (key === 'ArrowLeft') return () => (isOpen ? this.toggle(i) : tree.parent[i] !== RV.tree.NONE && this.go(tree.parent[i]));
      if (key === '*') return () => this.collapseAll(this.collapsed.size === 0);
      return null;
    }

    split(percent) {
      const width = Math.round(Math.min(75, Math.max(15, percent)));
      this.element.style.setProperty('--split', String(width));
      this.splitter.setAttribute('aria-valuenow', String(width));
      RV.theme.setSetting('split', String(width));
      if (this.rows) this.rule();
    }

    drag(event) {
      event.preventDefault();
      this.splitter.setPointerCapture(event.pointerId);
      const box = this.element.getBoundingClientRect();
      const move = (moved) => this.split(((moved.clientX - box.left) / box.width) * 100);
      this.splitter.addEventListener('pointermove', move);
      this.splitter.addEventListener('lostpointercapture', () => this.splitter.removeEventListener('pointermove', move), {
        once: true,
      });
    }

    splitKey(event) {
      const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.split(Number(this.splitter.getAttribute('aria-valuenow')) + by);
    }
  }

  RV.waterfall = { Waterfall, KINDS };
})();
