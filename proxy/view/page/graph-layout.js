// Where the nodes of a graph stand: in layers from left to right, after Sugiyama, Tagawa and Toda (1981). Circles are cut first; an
// edge that was turned for that is drawn in its own direction all the same. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const SWEEPS = 16;
  /** A drawing with more layers than this is made again in fewer, with more edges that lead back. */
  const MOST_LAYERS = 9;

  /**
   * Gives each of `nodes` (`{id, width, height}`) an `x`, a `y` (of its middle) and a `layer`, and each of `edges` (`{from, to}`)
   * its `points`. Returns the size of the drawing. The same input gives the same drawing.
   */
  const layout = (nodes, edges, { gapX = 96, gapY = 18, margin = 16 } = {}) => {
    const byId = new Map(nodes.map((node) => [node.id, node]));
    const usable = edges.filter((edge) => byId.has(edge.from) && byId.has(edge.to) && edge.from !== edge.to);
    let turned = backEdges(nodes, usable);
    let arcs = arcsOf(usable, turned);
    setLayers(nodes, arcs, byId);
    if (nodes.some(({ layer }) => layer >= MOST_LAYERS)) {
      turned = farEdges(nodes, usable);
      arcs = arcsOf(usable, turned);
      setLayers(nodes, arcs, byId);
    }
    const graph = withBends(nodes, arcs, byId);
    orderLayers(graph);
    setRows(graph, gapY, margin);
    const size = setColumns(graph, gapX, margin);
    setPorts(arcs, byId);
    for (const arc of arcs) {
      const points = pointsOf(arc, byId);
      arc.edge.isBack = turned.has(arc.edge);
      arc.edge.points = arc.edge.isBack ? points.reverse() : points;
    }
    return size;
  };

  const arcsOf = (edges, turned) =>
    edges.map((edge) => (turned.has(edge) ? { edge, from: edge.to, to: edge.from } : { edge, from: edge.from, to: edge.to }));

  // What leaves each node, and all nodes in the order in which a walk should begin: with what nothing leads to.
  const survey = (nodes, edges) => {
    const out = new Map(nodes.map((node) => [node.id, []]));
    const incoming = new Map(nodes.map((node) => [node.id, 0]));
    for (const edge of edges) {
      out.get(edge.from).push(edge);
      incoming.set(edge.to, incoming.get(edge.to) + 1);
    }
    const starts = [...nodes].sort(
      (a, b) => incoming.get(a.id) - incoming.get(b.id) || out.get(b.id).length - out.get(a.id).length,
    );
    return { out, starts };
  };

  // The edges that lead towards the start. Distances are counted along edges from one start of each part of the graph; what leads
  // to a node that has one stands just before it.
  const farEdges = (nodes, edges) => {
    const { out, starts } = survey(nodes, edges);
    const distance = new Map();
    const walk = (id, begin) => {
      distance.set(id, begin);
      const queue = [id];
      while (queue.length > 0) {
        const at = queue.shift();
        for (const { to } of out.get(at)) {
          if (distance.has(to)) continue;
          distance.set(to, distance.get(at) + 1);
          queue.push(to);
        }
      }
    };
    while (distance.size < nodes.length) {
      const before = edges.find(({ from, to }) => !distance.has(from) && distance.has(to));
      if (before) walk(before.from, distance.get(before.to) - 1);
      else walk(starts.find(({ id }) => !distance.has(id)).id, 0);
    }
    const number = new Map([...distance.keys()].map((id, k) => [id, k]));
    const length = ({ from, to }) => distance.get(to) - distance.get(from) || number.get(to) - number.get(from);
    return new Set(edges.filter((edge) => length(edge) < 0));
  };

  // The edges that lead back to where a walk along the edges came from.
  const backEdges = (nodes, edges) => {
    const { out, starts } = survey(nodes, edges);
    const back = new Set();
    const state = new Map();
    for (const { id } of starts) {
      if (state.has(id)) continue;
      const path = [{ id, next: 0 }];
      state.set(id, 'open');
      while (path.length > 0) {
        const at = path.at(-1);
        const edge = out.get(at.id)[at.next];
        at.next += 1;
        if (!edge) {
          state.set(at.id, 'done');
          path.pop();
        } else if (state.get(edge.to) === 'open') {
          back.add(edge);
        } else if (!state.has(edge.to)) {
          state.set(edge.to, 'open');
          path.push({ id: edge.to, next: 0 });
        }
      }
    }
    return back;
  };

  // As far left as the nodes before it allow; one with nothing before it stands just before what follows.
  const setLayers = (nodes, arcs, byId) => {
    for (const node of nodes) node.layer = 0;
    for (let pass = 0, isMoving = true; isMoving && pass <= nodes.length; pass += 1) {
      isMoving = false;
      for (const { from, to } of arcs) {
        if (byId.get(to).layer > byId.get(from).layer) continue;
        byId.get(to).layer = byId.get(from).layer + 1;
        isMoving = true;
      }
    }
    const hasBefore = new Set(arcs.map(({ to }) => to));
    for (const node of nodes) {
      const after = arcs.filter(({ from }) => from === node.id).map(({ to }) => byId.get(to).layer);
      if (!hasBefore.has(node.id) && after.length > 0) node.layer = Math.min(...after) - 1;
    }
  };

  // An edge over several layers gets a bend in each one between.
  const withBends = (nodes, arcs, byId) => {
    const layers = [];
    const put = (node) => {
      (layers[node.layer] ??= []).push(node);
      node.before = [];
      node.after = [];
    };
    nodes.forEach(put);
    for (const arc of arcs) {
      arc.bends = [];
      let last = byId.get(arc.from);
      const end = byId.get(arc.to);
      for (let layer = last.layer + 1; layer < end.layer; layer += 1) {
        const bend = { layer, width: 0, height: 6, isBend: true };
        put(bend);
        connect(last, bend);
        arc.bends.push(bend);
        last = bend;
      }
      connect(last, end);
    }
    return { layers: Array.from(layers, (layer) => layer ?? []) };
  };

  const connect = (a, b) => {
    a.after.push(b);
    b.before.push(a);
  };

  const orderLayers = ({ layers }) => {
    const number = () =>
      layers.forEach((layer) =>
        layer.forEach((node, place) => {
          node.place = place;
        }),
      );
    number();
    let best = null;
    for (let sweep = 0; sweep <= SWEEPS; sweep += 1) {
      const crossings = countCrossings(layers);
      if (!best || crossings < best.crossings) best = { crossings, order: layers.map((layer) => [...layer]) };
      if (crossings === 0) break;
      const isForward = sweep % 2 === 0;
      for (const layer of isForward ? layers : [...layers].reverse()) {
        const centre = new Map(
          layer.map((node) => {
            const near = isForward ? node.before : node.after;
            return [node, near.length > 0 ? near.reduce((sum, other) => sum + other.place, 0) / near.length : node.place];
          }),
        );
        layer.sort((a, b) => centre.get(a) - centre.get(b) || a.place - b.place);
        layer.forEach((node, place) => {
          node.place = place;
        });
      }
    }
    best.order.forEach((order, k) => layers[k].splice(0, Infinity, ...order));
    number();
  };

  const countCrossings = (layers) => {
    let crossings = 0;
    for (const layer of layers) {
      const ends = layer.flatMap((node) => node.after.map((other) => [node.place, other.place]));
      for (let i = 0; i < ends.length; i += 1) {
        for (let j = i + 1; j < ends.length; j += 1) {
          if ((ends[i][0] - ends[j][0]) * (ends[i][1] - ends[j][1]) < 0) crossings += 1;
        }
      }
    }
    return crossings;
  };

  // Each node is drawn towards the middle of its neighbours, as far as those above and below it leave room.
  const setRows = ({ layers }, gapY, margin) => {
    const gap = (a, b) => (a.height + b.height) / 2 + (a.isBend && b.isBend ? gapY / 2 : gapY);
    for (const layer of layers) {
      layer.forEach((node, k) => {
        node.y = k === 0 ? node.height / 2 : layer[k - 1].y + gap(layer[k - 1], node);
      });
    }
    for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
      for (const layer of sweep % 2 === 0 ? layers : [...layers].reverse()) {
        const wanted = layer.map((node) => {
          const near = [...node.before, ...node.after];
          return near.length > 0 ? near.reduce((sum, other) => sum + other.y, 0) / near.length : node.y;
        });
        settle(layer, wanted, gap);
      }
    }
    const top = Math.min(...layers.flat().map((node) => node.y - node.height / 2));
    for (const node of layers.flat()) node.y += margin - top;
  };

  // The places closest to the wanted ones, in the given order and with the gaps kept: blocks that would overlap are joined.
  const settle = (layer, wanted, gap) => {
    const offsets = [0];
    for (let k = 1; k < layer.length; k += 1) offsets.push(offsets[k - 1] + gap(layer[k - 1], layer[k]));
    const blocks = [];
    wanted.forEach((y, k) => {
      blocks.push({ sum: y - offsets[k], count: 1 });
      while (blocks.length > 1 && mean(blocks.at(-2)) > mean(blocks.at(-1))) {
        const last = blocks.pop();
        blocks.at(-1).sum += last.sum;
        blocks.at(-1).count += last.count;
      }
    });
    let k = 0;
    for (const block of blocks) {
      for (let n = 0; n < block.count; n += 1, k += 1) layer[k].y = mean(block) + offsets[k];
    }
  };

  const mean = ({ sum, count }) => sum / count;

  const setColumns = ({ layers }, gapX, margin) => {
    let x = margin;
    let bottom = 0;
    for (const layer of layers) {
      const width = Math.max(...layer.map((node) => node.width), 0);
      for (const node of layer) {
        node.x = x + width / 2;
        node.columnWidth = width;
        bottom = Math.max(bottom, node.y + node.height / 2);
      }
      x += width + gapX;
    }
    return { width: x - gapX + margin, height: bottom + margin };
  };

  // Where each edge touches its nodes: those of one side are spread, in the order of where they lead.
  const setPorts = (arcs, byId) => {
    for (const node of byId.values()) {
      const out = arcs.filter(({ from }) => from === node.id);
      const into = arcs.filter(({ to }) => to === node.id);
      spread(node, out, (arc) => (arc.bends[0] ?? byId.get(arc.to)).y, 'fromY');
      spread(node, into, (arc) => (arc.bends.at(-1) ?? byId.get(arc.from)).y, 'toY');
    }
  };

  const spread = (node, arcs, towards, name) => {
    const distance = Math.min(9, (node.height - 14) / Math.max(1, arcs.length - 1));
    [...arcs]
      .sort((a, b) => towards(a) - towards(b))
      .forEach((arc, k) => {
        arc[name] = node.y + (k - (arcs.length - 1) / 2) * distance;
      });
  };

  // Bends are passed straight through their column, so that no line runs under a node.
  const pointsOf = (arc, byId) => {
    const from = byId.get(arc.from);
    const to = byId.get(arc.to);
    const points = [{ x: from.x + from.width / 2, y: arc.fromY }];
    for (const bend of arc.bends) {
      points.push({ x: bend.x - bend.columnWidth / 2, y: bend.y }, { x: bend.x + bend.columnWidth / 2, y: bend.y });
    }
    points.push({ x: to.x - to.width / 2, y: arc.toY });
    return points;
  };

  /** The path of SVG through `points`: curves that leave and arrive level. */
  const path = (points) =>
    points
      .map(({ x, y }, k) => {
        if (k === 0) return `M${round(x)} ${round(y)}`;
        const before = points[k - 1];
        if (Math.abs(before.y - y) < 0.5) return `L${round(x)} ${round(y)}`;
        const middle = (before.x + x) / 2;
        return `C${round(middle)} ${round(before.y)} ${round(middle)} ${round(y)} ${round(x)} ${round(y)}`;
      })
      .join('');

  const round = (value) => Math.round(value * 10) / 10;

  RV.graphLayout = { layout, path };
})();
