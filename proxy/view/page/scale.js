// The ruler above a waterfall, and the part of a transaction that it shows. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  /** The distance between two marks of a ruler: the smallest of 1, 2 and 5 times a power of ten that makes at most `marks`. */
  const step = (length, marks) => {
    const least = length / Math.max(1, marks);
    const power = 10 ** Math.floor(Math.log10(least));
    // A hair of room, because powers of ten are not exact.
    return power * [1, 2, 5, 10].find((factor) => power * factor >= least * 0.999999);
  };

  /** The marks between `from` and `to`: multiples of the step, at most `marks` of them and one. */
  const ticks = (from, to, marks) => {
    const distance = step(to - from, marks);
    const all = [];
    for (let k = Math.ceil(from / distance - 1e-9); k * distance <= to * (1 + 1e-12) && all.length <= marks + 1; k += 1) {
      all.push(Number((k * distance).toPrecision(12)));
    }
    return { distance, all };
  };

  /** A mark in the unit of its ruler, with as many decimals as the distance of marks needs: `0`, `20 ms`, `1.25 s`. */
  const label = (us, distance) => {
    if (us === 0) return '0';
    const largest = Math.abs(us);
    const [unit, factor] =
      largest >= 1e6 ? ['s', 1e6] : largest >= 1e3 ? ['ms', 1e3] : largest >= 1 || distance >= 1 ? ['µs', 1] : ['ns', 1e-3];
    const decimals = Math.max(0, Math.min(6, -Math.floor(Math.log10(distance / factor) + 1e-9)));
    return `${(us / factor).toFixed(decimals).replace('-', '−')} ${unit}`;
  };

  /** The view `{from, to}` moved and narrowed to lie within `[least, most]`, and not shorter than a nanosecond. */
  const within = ({ from, to }, least, most) => {
    const length = Math.min(Math.max(to - from, 0.001), most - least);
    const begin = Math.min(Math.max(from, least), most - length);
    return { from: begin, to: begin + length };
  };

  /** The view made `factor` times as long around the time `at`. */
  const zoomed = ({ from, to }, factor, at) => ({ from: at - (at - from) * factor, to: at + (to - at) * factor });

  RV.scale = { step, ticks, label, within, zoomed };
})();
