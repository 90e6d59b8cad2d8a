// The list of transactions while more arrive. A reader who points at a row or has scrolled holds the list: then what is new waits,
// and what changed is changed where it stands. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  /** So many rows are kept at most; the oldest go first. */
  const MOST_ROWS = 20_000;

  const create = () => ({ rows: [], byTrace: new Map(), waiting: new Map(), cursor: null, cut: false });

  const order = (a, b) => RV.format.newestFirst(a.start, b.start) || (a.trace < b.trace ? -1 : 1);

  /** Puts a page of answers into the list: the first one replaces what there is, a further one follows it. */
  const load = (list, page, isFirst) => {
    if (isFirst) {
      list.rows = [];
      list.byTrace.clear();
      list.waiting.clear();
      list.cut = false;
    }
    insert(list, page.transactions);
    list.cursor = list.cut ? null : page.next;
  };

  /** Takes changed summaries. `isWanted` tells which belong into the list, `isHeld` whether new ones have to wait. */
  const change = (list, summaries, isWanted, isHeld) => {
    const fresh = [];
    for (const summary of summaries) {
      const known = list.byTrace.get(summary.trace);
      // A late answer to a question may be older than what an event has told.
      if (known && known.updated > summary.updated) continue;
      if (known) replace(list, known, summary);
      else if (!isWanted(summary)) list.waiting.delete(summary.trace);
      else if (isHeld) list.waiting.set(summary.trace, summary);
      else fresh.push(summary);
    }
    insert(list, fresh);
  };

  /** Lets what waits into the list. */
  const release = (list) => {
    const waiting = [...list.waiting.values()];
    list.waiting.clear();
    insert(list, waiting);
  };

  const replace = (list, known, summary) => {
    list.byTrace.set(summary.trace, summary);
    list.rows[list.rows.indexOf(known)] = summary;
  };

  const insert = (list, summaries) => {
    const fresh = [];
    for (const summary of summaries) {
      const known = list.byTrace.get(summary.trace);
      if (known) {
        if (known.updated <= summary.updated) replace(list, known, summary);
      } else {
        list.byTrace.set(summary.trace, summary);
        fresh.push(summary);
      }
    }
    if (fresh.length === 0) return;
    list.rows = [...list.rows, ...fresh].sort(order);
    if (list.rows.length <= MOST_ROWS) return;
    for (const gone of list.rows.splice(MOST_ROWS)) list.byTrace.delete(gone.trace);
    list.cut = true;
    list.cursor = null;
  };

  RV.listing = { MOST_ROWS, create, load, change, release };
})();
