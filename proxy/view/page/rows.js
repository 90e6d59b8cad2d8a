// A long list of rows of one height, of which only those in sight are in the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  /** Rows above and below the window that are made in advance. */
  const SPARE = 8;

  /** The rows from `first` up to `end` that a window shows: `top` is how far it is scrolled, `height` what it shows of them. */
  const range = (top, height, rowHeight, count, spare = SPARE) => {
    const first = Math.max(0, Math.min(count, Math.floor(top / rowHeight)) - spare);
    const end = Math.min(count, Math.ceil((top + height) / rowHeight) + spare);
    return { first, end: Math.max(first, end) };
  };

  /** How far to scroll so that `row` is in sight, in the middle if it is far away. `head` is covered at the window's top. */
  const scrolled = (top, height, head, rowHeight, row) => {
    const begin = row * rowHeight;
    const shown = height - head;
    if (begin >= top && begin + rowHeight <= top + shown) return top;
    if (begin < top && begin >= top - shown) return begin;
    if (begin > top && begin < top + 2 * shown) return begin + rowHeight - shown;
    return Math.max(0, begin - (shown - rowHeight) / 2);
  };

  class VirtualRows {
    /**
     * `scroller` scrolls, `body` within it holds the rows, below a head that stays. `make(row)` makes one, and `stamp(row)` is
     * another text when it has to be made anew. Rows are numbered for a screen reader, the head being the first.
     */
    constructor({ scroller, body, rowHeight, make, stamp }) {
      Object.assign(this, { scroller, body, rowHeight, make, stamp, count: 0, shown: new Map(), frame: 0 });
      this.onScroll = () => this.soon();
      scroller.addEventListener('scroll', this.onScroll, { passive: true });
      this.watch = new ResizeObserver(() => this.soon());
      this.watch.observe(scroller);
    }

    end() {
      this.scroller.removeEventListener('scroll', this.onScroll);
      this.watch.disconnect();
      cancelAnimationFrame(this.frame);
    }

    soon() {
      this.frame ||= requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
    }

    setCount(count) {
      this.count = count;
      this.body.style.setProperty('height', `${count * this.rowHeight}px`);
      this.draw();
    }

    head() {
      return this.body.offsetTop;
    }

    draw() {
      const { scroller, rowHeight, count } = this;
      const { first, end } = range(scroller.scrollTop, scroller.clientHeight, rowHeight, count);
      for (const [row, element] of this.shown) {
        if (row >= first && row < end) continue;
        element.remove();
        this.shown.delete(row);
      }
      // In the order of the document, which a screen reader follows.
      let before = null;
      for (let row = end - 1; row >= first; row -= 1) {
        const element = this.fresh(row);
        if (element.parentNode !== this.body || element.nextSibling !== before) this.body.insertBefore(element, before);
        before = element;
      }
    }

    fresh(row) {
      const stamp = this.stamp(row);
      const known = this.shown.get(row);
      if (known && known.stamp === stamp) return known;
      const element = this.make(row);
      element.stamp = stamp;
      this.settle(element, row);
      if (known) known.replaceWith(element);
      this.shown.set(row, element);
      return element;
    }

    settle(element, row) {
      element.style.setProperty('top', `${row * this.rowHeight}px`);
      element.setAttribute('aria-rowindex', String(row + 2));
    }

    /** Makes the rows in sight anew, those of another stamp. */
    refresh() {
      this.draw();
    }

    /** After rows were put in or taken out in front of others: elements follow the row that has their stamp now. */
    reorder(count) {
      const byStamp = new Map([...this.shown.values()].map((element) => [element.stamp, element]));
      this.shown.clear();
      this.count = count;
      this.body.style.setProperty('height', `${count * this.rowHeight}px`);
      const { first, end } = range(this.scroller.scrollTop, this.scroller.clientHeight, this.rowHeight, count);
      for (let row = first; row < end; row += 1) {
        const element = byStamp.get(this.stamp(row));
        if (!element) continue;
        byStamp.delete(element.stamp);
        this.settle(element, row);
        this.shown.set(row, element);
      }
      for (const element of byStamp.values()) element.remove();
      this.draw();
    }

    show(row) {
      const { scroller, rowHeight } = this;
      const top = scrolled(scroller.scrollTop, scroller.clientHeight, this.head(), rowHeight, row);
      if (top !== scroller.scrollTop) scroller.scrollTop = top;
      this.draw();
    }

    /** How many rows the window shows. */
    page() {
      return Math.max(1, Math.floor((this.scroller.clientHeight - this.head()) / this.rowHeight) - 1);
    }
  }

  RV.rows = { range, scrolled, VirtualRows };
})();
