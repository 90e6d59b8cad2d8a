// The whole transaction in a strip above the waterfall. A part of it can be chosen, which the waterfall then shows.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h } = RV.dom;

  const HEIGHT = 56;

  /** Draws the spans in the order of the tree, each at its height: of several in one line of pixels all are drawn. */
  const paint = (canvas, tree, colourOf, errorColour) => {
    const width = canvas.clientWidth;
    const ratio = Math.min(2, devicePixelRatio || 1);
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = HEIGHT * ratio;
    const pen = canvas.getContext('2d');
    const { order, spans, from, to } = tree;
    const height = canvas.height / Math.max(order.length, 14);
    const thick = Math.max(ratio, Math.min(4 * ratio, height * 0.75));
    const scale = canvas.width / (to - from);
    const failed = [];
    let last = { colour: null, line: -1, begin: 0, end: 0 };
    for (let k = 0; k < order.length; k += 1) {
      const span = spans[order[k]];
      if (span.status === 'error') failed.push(k);
      const colour = colourOf(span);
      const line = Math.floor(k * height);
      const begin = (span.start_us - from) * scale;
      const end = begin + Math.max(ratio, span.duration_us * scale);
      // Of 100,000 spans, most would be drawn over what is there already.
      if (colour === last.colour && line === last.line && begin >= last.begin && end <= last.end + ratio / 2) continue;
      if (colour !== last.colour) pen.fillStyle = colour;
      last = { colour, line, begin, end };
      pen.fillRect(begin, k * height, end - begin, thick);
    }
    // Above all others, and wide enough to be seen.
    pen.fillStyle = errorColour;
    for (const k of failed)
      pen.fillRect((spans[order[k]].start_us - from) * scale - ratio, k * height, 3 * ratio, Math.max(thick, 3 * ratio));
  };

  /** The strip for `tree`. `changed(view)` is called when a person has chosen a part; null is the whole. */
  const create = (tree, colourOf, changed) => {
    const canvas = h('canvas.minimap-spans', { 'aria-hidden': 'true' });
    const left = h('div.shade');
    const right = h('div.shade');
    const window_ = h('div.window');
    const element = h(
      'div.minimap',
      { 'aria-hidden': 'true', title: 'Drag to look at a part, double-click for the whole' },
      canvas,
      left,
      right,
      window_,
    );
    const { from, to } = tree;

    const show = (view) => {
      const begin = ((view.from - from) / (to - from)) * 100;
      const end = ((view.to - from) / (to - from)) * 100;
      RV.dom.place(left, '0', `${begin}%`);
      RV.dom.place(right, `${end}%`, `${100 - end}%`);
      RV.dom.place(window_, `${begin}%`, `${end - begin}%`);
      element.classList.toggle('is-whole', begin < 0.01 && end > 99.99);
    };

    const draw = () => paint(canvas, tree, colourOf, getComputedStyle(element).getPropertyValue('color'));
    const watch = new ResizeObserver(draw);
    watch.observe(element);

    let origin = null;
    const timeAt = (event) => {
      const box = element.getBoundingClientRect();
      return from + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (to - from);
    };
    const part = (event) => {
      const at = timeAt(event);
      return { from: Math.min(origin, at), to: Math.max(origin, at) };
    };
    element.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      origin = timeAt(event);
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener('pointermove', (event) => {
      if (origin !== null) show(part(event));
    });
    element.addEventListener('pointerup', (event) => {
      if (origin === null) return;
      const view = part(event);
      origin = null;
      changed(view.to - view.from < (to - from) / 200 ? undefined : view);
    });
    element.addEventListener('pointercancel', () => {
      origin = null;
      changed(undefined);
    });
    element.addEventListener('dblclick', () => changed(null));
    return { element, show, draw, end: () => watch.disconnect() };
  };

  RV.minimap = { create };
})();
