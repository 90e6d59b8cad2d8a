// Services and channels as a graph, with rates and latencies; and the same as a table, which says all in words.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, s, foreign } = RV.dom;

  /** With more edges than this, what stands beside an edge is shown for the node that is pointed at only. */
  const MOST_WORDS = 30;
  /** Rows of the table, which is made anew while spans arrive. */
  const MOST_ROWS = 300;
  /** A graph is not made smaller than this to fit, because its words could not be read; then it scrolls. */
  const SMALLEST_FIT = 0.8;
  const ZOOMS = [0.35, 0.5, 0.7, 0.85, 1, 1.25, 1.6];

  const box = (node) => {
    const left = node.x - node.width / 2;
    const top = node.y - node.height / 2;
    const shape = { x: left, y: top, width: node.width, height: node.height, rx: node.type === 'service' ? 4 : node.height / 2 };
    const href = { service: RV.route.transactions({ service: node.name }), channel: RV.route.transactions({ channel: node.name }) }[
      node.type
    ];
    // Where requests come from has no box: its words stand before the arrow.
    const at = node.type === 'client' ? { x: left + node.width - 8, 'text-anchor': 'end' } : { x: left + 17 };
    const drawing = [
      s('rect.node-box', shape),
      node.type === 'service' &&
        s('rect.node-colour', {
          x: left,
          y: top,
          width: 5,
          height: node.height,
          rx: 2,
          'data-colour': RV.colours.of(RV.colours.shared, node.name),
        }),
      // The spaces are for a screen reader, which reads these as one name.
      s('text.node-name', { ...at, y: top + 18 }, `${node.title} `),
      node.lines.map((line, k) => s('text.node-line', { ...at, y: top + 33 + 15 * k }, `${line} `)),
      node.title !== RV.format.visible(node.name) && s('title', RV.format.clipped(node.name, 400)),
    ];
    const classes = `node is-${node.type}${node.errors > 0 ? ' has-errors' : ''}`;
    return href
      ? s('a', { href, class: classes, 'data-node': node.id }, drawing)
      : s('g', { class: classes, 'data-node': node.id }, drawing);
  };

  const thickness = (edge) => 1.2 + Math.min(3, Math.log10(1 + Math.max(0, edge.rate) * 10));

  // Where the words stand: on the level part of a long edge, otherwise at the end that fewer edges share.
  const wordsAt = (edge, degree) => {
    const { points } = edge;
    for (let k = 1; points.length > 2 && k < points.length; k += 1) {
      const [a, b] = [points[k - 1], points[k]];
      if (Math.abs(a.y - b.y) < 0.5) return { x: (a.x + b.x) / 2, y: a.y - 5, anchor: 'middle' };
    }
    const isAtEnd = degree.get(`in ${edge.to}`) <= degree.get(`out ${edge.from}`);
    const end = isAtEnd ? points.at(-1) : points[0];
    const other = isAtEnd ? points.at(-2) : points[1];
    const side = Math.sign(other.x - end.x) || 1;
    return { x: end.x + side * 12, y: end.y - 6, anchor: side > 0 ? 'start' : 'end' };
  };

  const sorted = (edge, element) => {
    element.classList.toggle('is-error', edge.errors > 0);
    element.classList.toggle('is-inferred', edge.inferred > 0 && edge.inferred >= edge.count);
    return element;
  };

  const ends = (edge) => ({ 'data-from': edge.from, 'data-to': edge.to });

  const line = (edge) =>
    sorted(
      edge,
      s(
        'g.edge',
        ends(edge),
        s('path.edge-room', { d: RV.graphLayout.path(edge.points) }),
        s('path.edge-line', {
          d: RV.graphLayout.path(edge.points),
          'stroke-width': thickness(edge),
          'marker-end': `url(#arrow${edge.errors > 0 ? '-error' : ''})`,
        }),
        s('title', `${edge.sentence.map((part) => RV.format.clipped(part, 80)).join(' ')}\n${summary(edge)}`),
      ),
    );

  const beside = (edge, degree) => {
    const { x, y, anchor } = wordsAt(edge, degree);
    return sorted(
      edge,
      s('text.edge.edge-words', { ...ends(edge), x, y, 'text-anchor': anchor }, edge.errors > 0 ? `⚠ ${edge.words}` : edge.words),
    );
  };

  const summary = (edge) =>
    [
      `${RV.format.count(edge.count)} in the last minutes`,
      edge.errors > 0 && RV.format.many(edge.errors, 'error'),
      `p50 ${RV.format.duration(edge.p50_us)}`,
      `p95 ${RV.format.duration(edge.p95_us)}`,
      edge.inferred > 0 && `${RV.format.count(edge.inferred)} inferred`,
    ]
      .filter(Boolean)
      .join(', ');

  // Each name for itself, so that the direction of one does not turn the others.
  const connection = (edge) => {
    const [from, verb, to] = RV.graphModel.sentence(edge);
    return [foreign(from, 80), ` ${verb} `, foreign(to, 80)];
  };

  const arrow = (name) =>
    s(
      'marker',
      {
        id: name,
        viewBox: '0 0 8 8',
        refX: 7,
        refY: 4,
        markerWidth: 8,
        markerHeight: 8,
        markerUnits: 'userSpaceOnUse',
        orient: 'auto',
      },
      s(`path.${name}`, { d: 'M0 0.8 8 4 0 7.2z' }),
    );

  class Graph {
    constructor() {
      this.drawing = s('svg.graph-drawing', {
        role: 'group',
        'aria-label': 'Services and channels as a graph; the table below says the same in words',
      });
      this.frame = h('div.graph-frame', { tabindex: '0', role: 'region', 'aria-label': 'Graph' }, this.drawing);
      this.table = h('div.table-frame', { tabindex: '0', role: 'region', 'aria-label': 'Connections' });
      this.window = h('span.muted');
      this.zoom = 'fit';
      this.content = h('div.graph-content', this.frame, this.table);
      this.nothing = h('div', { hidden: true });
      this.element = h(
        'section.page.graph',
        h(
          'header.page-head',
          h('h1', 'Graph'),
          this.window,
          h('div.spacer'),
          h(
            'div.legend',
            h('span.key.is-known', 'known'),
            h('span.key.is-inferred', 'all inferred'),
            h('span.key.is-error', 'with errors'),
          ),
          RV.dom.iconButton('fit', 'Fit the graph into the window', () => this.setZoom('fit')),
          h(
            'button.icon-button',
            { type: 'button', 'aria-label': 'Smaller', title: 'Smaller', onclick: () => this.stepZoom(-1) },
            '−',
          ),
          h(
            'button.icon-button',
            { type: 'button', 'aria-label': 'Larger', title: 'Larger', onclick: () => this.stepZoom(1) },
            '+',
          ),
        ),
        this.content,
        this.nothing,
      );
      this.drawing.addEventListener('pointerover', (event) => this.point(event.target.closest('[data-node]')));
      this.drawing.addEventListener('pointerleave', () => this.point(null));
      this.drawing.addEventListener('focusin', (event) => this.point(event.target.closest('[data-node]')));
      this.drawing.addEventListener('focusout', () => this.point(null));
    }

    start() {
      this.refresher = RV.refresh.start('graph', (answer) => this.show(answer));
      this.watch = new ResizeObserver(() => this.scale());
      this.watch.observe(this.frame);
    }

    end() {
      this.refresher.end();
      this.watch.disconnect();
    }

    show(answer) {
      const isEmpty = answer.services.length === 0 && answer.edges.length === 0;
      this.content.hidden = isEmpty;
      this.nothing.hidden = !isEmpty;
      if (isEmpty) {
        if (!this.nothing.firstChild) RV.dom.fill(this.nothing, RV.start.empty());
        return;
      }
      const model = RV.graphModel.build(answer);
      const { left } = model;
      this.window.textContent = [
        `rates and latencies of the last ${RV.format.count(Math.ceil(answer.window_s))} s`,
        left.channels > 0 && `${RV.format.many(left.channels, 'quieter channel')} not drawn`,
        left.services > 0 && `${RV.format.many(left.services, 'service')} not drawn`,
      ]
        .filter(Boolean)
        .join(', ');
      this.size = RV.graphLayout.layout(model.nodes, model.edges, { gapX: model.edges.length > MOST_WORDS ? 70 : 150 });
      this.draw(model);
      this.list(answer);
    }

    draw({ nodes, edges }) {
      const focused = document.activeElement?.getAttribute('data-node');
      const degree = new Map();
      for (const { from, to } of edges) {
        for (const key of [`out ${from}`, `in ${to}`]) degree.set(key, (degree.get(key) ?? 0) + 1);
      }
      const order = [...nodes].sort((a, b) => a.x - b.x || a.y - b.y);
      const placed = edges.filter((edge) => edge.points);
      // Words last: no line may run over them.
      RV.dom.fill(
        this.drawing,
        s('defs', arrow('arrow'), arrow('arrow-error')),
        s('g', placed.map(line)),
        s('g', order.map(box)),
        s(
          'g.words-layer',
          placed.filter((edge) => edge.words).map((edge) => beside(edge, degree)),
        ),
      );
      this.drawing.classList.toggle('has-many', edges.length > MOST_WORDS);
      this.drawing.setAttribute('viewBox', `0 0 ${Math.ceil(this.size.width)} ${Math.ceil(this.size.height)}`);
      this.scale();
      if (focused) this.drawing.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      else this.point(this.pointed ? this.drawing.querySelector(`[data-node="${CSS.escape(this.pointed)}"]`) : null);
    }

    scale() {
      if (!this.size) return;
      const room = this.frame.clientWidth - 2;
      const fit = Math.min(1.15, Math.max(SMALLEST_FIT, room / this.size.width));
      this.scaledBy = this.zoom === 'fit' ? fit : this.zoom;
      this.drawing.setAttribute('width', Math.floor(this.size.width * this.scaledBy));
      this.drawing.setAttribute('height', Math.floor(this.size.height * this.scaledBy));
    }

    setZoom(zoom) {
      this.zoom = zoom;
      this.scale();
    }

    stepZoom(by) {
      const next =
        by > 0 ? ZOOMS.find((zoom) => zoom > this.scaledBy + 0.01) : ZOOMS.findLast((zoom) => zoom < this.scaledBy - 0.01);
      if (next) this.setZoom(next);
    }

    /** Shows what `element` is connected with, and lets the rest step back. */
    point(element) {
      this.pointed = element?.getAttribute('data-node') ?? null;
      this.drawing.classList.toggle('is-pointed', Boolean(element));
      for (const node of this.drawing.querySelectorAll('.is-near')) node.classList.remove('is-near');
      if (!element) return;
      const near = new Set([this.pointed]);
      for (const edge of this.drawing.querySelectorAll('.edge')) {
        const { from, to } = edge.dataset;
        if (from !== this.pointed && to !== this.pointed) continue;
        edge.classList.add('is-near');
        near.add(from).add(to);
      }
      for (const node of this.drawing.querySelectorAll('[data-node]'))
        if (near.has(node.getAttribute('data-node'))) node.classList.add('is-near');
    }

    list({ edges }) {
      const all = [...edges].sort((a, b) => b.rate - a.rate || b.count - a.count).slice(0, MOST_ROWS);
      RV.dom.fill(
        this.table,
        h(
          'table',
          h('caption', 'Connections'),
          h(
            'thead',
            h(
              'tr',
              ['Connection', 'Count', 'Rate', 'p50', 'p95', 'Errors', 'Inferred'].map((name, k) =>
                h('th', { scope: 'col', class: k > 0 ? 'number' : null }, name),
              ),
            ),
          ),
          h(
            'tbody',
            all.map((edge) =>
              h(
                'tr',
                h('th', { scope: 'row' }, connection(edge)),
                h('td.number', RV.format.count(edge.count)),
                h('td.number', RV.format.rate(edge.rate)),
                h('td.number', RV.dom.duration(edge.p50_us)),
                h('td.number', RV.dom.duration(edge.p95_us)),
                h('td.number', edge.errors > 0 ? h('span.tag.is-error', RV.dom.icon('error'), RV.format.count(edge.errors)) : '0'),
                h('td.number', RV.format.count(edge.inferred)),
              ),
            ),
          ),
        ),
      );
    }
  }

  RV.graph = { Graph };
})();
