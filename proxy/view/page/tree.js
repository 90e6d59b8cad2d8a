// A transaction's spans as a tree, in arrays that hold 100,000 of them well. Nothing here touches the document or recurs, so a
// chain of any length is no danger, and neither is a parent that is its own child.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const NONE = -1;

  /**
   * The tree of `spans`, which are addressed by their index. `order` lists them parents first and siblings by their start;
   * `size` counts a span and all below it, `errors` the failed ones among these. A span whose parent did not arrive stands at the
   * top and is an `orphan`.
   */
  const build = (spans) => {
    const n = spans.length;
    const byId = new Map();
    for (let i = 0; i < n; i += 1) if (!byId.has(spans[i].id)) byId.set(spans[i].id, i);
    const parent = new Int32Array(n).fill(NONE);
    for (let i = 0; i < n; i += 1) {
      const above = spans[i].parent === null ? undefined : byId.get(spans[i].parent);
      if (above !== undefined && above !== i) parent[i] = above;
    }
    cutCircles(parent);
    const children = childLists(spans, parent);
    const tree = { spans, byId, parent, ...children, ...walk(spans, parent, children) };
    tree.position = new Int32Array(n);
    for (let k = 0; k < n; k += 1) tree.position[tree.order[k]] = k;
    return { ...tree, ...extent(spans) };
  };

  // Follows each span upwards, and takes the parent from the first span of a circle that is found.
  const cutCircles = (parent) => {
    const walked = new Int32Array(parent.length).fill(NONE);
    for (let i = 0; i < parent.length; i += 1) {
      let at = i;
      while (at !== NONE && walked[at] === NONE) {
        walked[at] = i;
        if (parent[at] !== NONE && walked[parent[at]] === i) parent[at] = NONE;
        at = parent[at];
      }
    }
  };

  // Lists of siblings by start: the first child of each span, the next sibling, and the first of those without parent.
  const childLists = (spans, parent) => {
    const n = spans.length;
    const byStart = Array.from({ length: n }, (_, i) => i);
    // They nearly always come in this order.
    if (spans.some((span, i) => i > 0 && span.start_us < spans[i - 1].start_us)) {
      byStart.sort((a, b) => spans[a].start_us - spans[b].start_us || a - b);
    }
    const first = new Int32Array(n).fill(NONE);
    const next = new Int32Array(n).fill(NONE);
    let top = NONE;
    for (let k = n - 1; k >= 0; k -= 1) {
      const i = byStart[k];
      if (parent[i] === NONE) {
        next[i] = top;
        top = i;
      } else {
        next[i] = first[parent[i]];
        first[parent[i]] = i;
      }
    }
    return { first, next, top };
  };

  const walk = (spans, parent, { first, next, top }) => {
    const n = spans.length;
    const order = new Int32Array(n);
    const depth = new Int32Array(n);
    let at = top;
    let k = 0;
    while (at !== NONE) {
      order[k] = at;
      k += 1;
      depth[at] = parent[at] === NONE ? 0 : depth[parent[at]] + 1;
      if (first[at] !== NONE) {
        at = first[at];
        continue;
      }
      while (at !== NONE && next[at] === NONE) at = parent[at];
      if (at !== NONE) at = next[at];
    }
    const size = new Int32Array(n).fill(1);
    const errors = new Int32Array(n);
    for (k = n - 1; k >= 0; k -= 1) {
      const i = order[k];
      if (spans[i].status === 'error') errors[i] += 1;
      if (parent[i] !== NONE) {
        size[parent[i]] += size[i];
        errors[parent[i]] += errors[i];
      }
    }
    return { order, depth, size, errors };
  };

  // The time that the spans cover, in microseconds; one microsecond at least, so that one can divide by it.
  const extent = (spans) => {
    let from = Infinity;
    let to = -Infinity;
    for (const span of spans) {
      from = Math.min(from, span.start_us);
      to = Math.max(to, span.start_us + Math.max(0, span.duration_us));
    }
    if (spans.length === 0) return { from: 0, to: 1 };
    return { from, to: Math.max(to, from + 1) };
  };

  /** The spans that are shown, in order, while what is below those in `collapsed` (a set of indexes) is not. */
  const rows = (tree, collapsed) => {
    const { order, size } = tree;
    if (collapsed.size === 0) return order;
    const shown = new Int32Array(order.length);
    let n = 0;
    for (let k = 0; k < order.length;) {
      shown[n] = order[k];
      n += 1;
      k += collapsed.has(order[k]) ? size[order[k]] : 1;
    }
    return shown.subarray(0, n);
  };

  /** The row of span `i`: the position in `shown` of the span or, if it is not shown, of the closest one above it that is. */
  const rowOf = (tree, shown, i) => {
    const wanted = tree.position[i];
    let low = 0;
    let high = shown.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (tree.position[shown[middle]] <= wanted) low = middle;
      else high = middle - 1;
    }
    return low;
  };

  /** Takes those above span `i` out of `collapsed`, so that the span is shown. Tells whether there were any. */
  const reveal = (tree, collapsed, i) => {
    let changed = false;
    for (let at = tree.parent[i]; at !== NONE; at = tree.parent[at]) changed = collapsed.delete(at) || changed;
    return changed;
  };

  /** All spans that have others below them. */
  const inner = (tree) => {
    const all = new Set();
    for (let i = 0; i < tree.spans.length; i += 1) if (tree.first[i] !== NONE) all.add(i);
    return all;
  };

  /** Whether span `i` names a parent that has not arrived. */
  const isOrphan = (tree, i) => tree.parent[i] === NONE && tree.spans[i].parent !== null;

  /** The number of deliveries below span `i`. */
  const deliveries = (tree, i) => {
    let seen = 0;
    for (let at = tree.first[i]; at !== NONE; at = tree.next[at]) if (tree.spans[at].kind === 'consumer') seen += 1;
    return seen;
  };

  // Receivers as Redis has counted them, and how many were seen, unless all were. Deliveries in traces of their own are links.
  const receiversOf = (tree, i, said) => {
    const seen = deliveries(tree, i);
    const isComplete = seen === said || tree.spans[i].linked_from.length > 0;
    return `${RV.format.many(said, 'receiver')}${isComplete ? '' : `, ${seen === 0 ? 'none' : RV.format.count(seen)} seen`}`;
  };

  /** What stands beside the bar of span `i`: that it failed, and otherwise what is worth most to know of it. */
  const note = (tree, i) => {
    const span = tree.spans[i];
    let status;
    let receivers;
    let error;
    let skipped;
    for (const [key, value] of span.attributes) {
      if (key === 'http.response.status_code') status = value;
      else if (key === 'redis.pubsub.receivers') receivers = value;
      else if (key === 'error.type') error = value;
      else if (key === 'redistributed.context.skipped') skipped = value;
    }
    const words = [];
    if (error !== undefined && String(error) !== String(status)) words.push(String(error));
    if (status !== undefined) words.push(String(status));
    if (receivers !== undefined) {
      words.push(
        skipped === undefined
          ? receiversOf(tree, i, Number(receivers))
          : `${RV.format.many(Number(receivers), 'receiver')}, not followed`,
      );
    } else if (skipped !== undefined) {
      words.push('not followed');
    }
    return words.join(', ');
  };

  /** The indexes of the spans in which `words` occur, in the order of the tree: in a name, a service, an id, a key or a value. */
  const find = (tree, services, words) => {
    const wanted = words.toLowerCase();
    const found = [];
    if (!wanted) return found;
    const has = (text) => String(text).toLowerCase().includes(wanted);
    for (const i of tree.order) {
      const span = tree.spans[i];
      if (
        has(span.name) ||
        has(services[span.resource] ?? '') ||
        span.id === wanted ||
        has(span.message ?? '') ||
        span.attributes.some(([key, value]) => has(value) || has(key)) ||
        span.events.some((event) => has(event.name))
      ) {
        found.push(i);
      }
    }
    return found;
  };

  RV.tree = { NONE, build, rows, rowOf, reveal, inner, isOrphan, note, find };
})();
