// The transactions of the list as dots: when, and how long on a logarithmic scale. It shows at one glance what is slow or has
// failed; the list says the same in words, so a screen reader passes over it.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, s } = RV.dom;

  const HEIGHT = 84;
  const MARGIN = { left: 58, right: 14, top: 8, bottom: 18 };
  /** More dots than this cannot be told apart. */
  const MOST = 600;

  const decades = (least, most) => {
    const low = Math.floor(Math.log10(Math.max(0.001, least)));
    return { low, high: Math.max(low + 1, Math.ceil(Math.log10(Math.max(0.001, most)) + 1e-9)) };
  };

  /** Where the dots of `rows` stand in a drawing of `width`: `{x, y, row}` each, and the decades of the scale. */
  const layout = (rows, width) => {
    const some = rows.slice(0, MOST);
    const durations = some.map((row) => row.duration_us);
    const { low, high } = decades(Math.min(...durations), Math.max(...durations));
    // Milliseconds since the first are small enough for a number.
    const first = BigInt(some.at(-1).start);
    const since = (ns) => Number(BigInt(ns) - first) / 1e6;
    const span = Math.max(1, since(some[0].start));
    const x = (ns) => MARGIN.left + (since(ns) / span) * (width - MARGIN.left - MARGIN.right);
    const y = (us) => {
      const part = (Math.log10(Math.max(10 ** low, us)) - low) / (high - low);
      return HEIGHT - MARGIN.bottom - part * (HEIGHT - MARGIN.top - MARGIN.bottom);
    };
    return { low, high, y, dots: some.map((row) => ({ x: x(row.start), y: y(row.duration_us), row })) };
  };

  const create = (opened) => {
    const drawing = s('svg.scatter', { 'aria-hidden': 'true', height: HEIGHT });
    let rows = [];
    const draw = () => {
      const width = drawing.clientWidth;
      drawing.replaceChildren();
      if (rows.length < 2 || width < 200) return;
      const { low, high, y, dots } = layout(rows, width);
      const every = Math.ceil((high - low) / 3);
      for (let power = low; power <= high; power += every) {
        const at = Math.round(y(10 ** power)) + 0.5;
        drawing.append(
          s('line.scatter-line', { x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }),
          s(
            'text.scatter-label',
            { x: MARGIN.left - 8, y: at + 3.5, 'text-anchor': 'end' },
            RV.scale.label(10 ** power, 10 ** power),
          ),
        );
      }
      const ends = [
        [dots.at(-1), 'start', MARGIN.left],
        [dots[0], 'end', width - MARGIN.right],
      ];
      for (const [dot, anchor, x] of ends) {
        drawing.append(
          s('text.scatter-label', { x, y: HEIGHT - 4, 'text-anchor': anchor }, RV.format.time(dot.row.start).replace(/\.\d+$/, '')),
        );
      }
      for (const dot of [...dots].reverse()) drawing.append(mark(dot, opened));
    };
    const watch = new ResizeObserver(draw);
    watch.observe(drawing);
    const show = (list) => {
      rows = list;
      drawing.classList.toggle('is-empty', rows.length < 2);
      draw();
    };
    return { element: h('div.scatter-frame', drawing), show, end: () => watch.disconnect() };
  };

  // A failed one is a cross, so that it is told by more than its colour.
  const mark = ({ x, y, row }, opened) => {
    const shape =
      row.errors > 0
        ? s('path.dot.is-error', { d: `M${x - 3.5} ${y - 3.5}l7 7m0 -7l-7 7` })
        : s('circle.dot', { cx: x, cy: y, r: 3, 'data-colour': RV.colours.of(RV.colours.shared, row.service) });
    shape.append(s('title', `${RV.format.clipped(row.name, 80)} – ${RV.format.duration(row.duration_us)}`));
    shape.addEventListener('click', () => opened(row));
    return shape;
  };

  RV.scatter = { create, layout };
})();
