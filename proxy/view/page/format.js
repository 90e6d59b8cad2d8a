// Numbers, times and foreign text, as people read them. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const GROUPED = new Intl.NumberFormat('en-US', { maximumFractionDigits: 3 });

  /** A number with its thousands grouped, as in `12,345`. */
  const count = (n) => GROUPED.format(n);

  /** A number for a narrow place: `999`, `12.3k`, `4.6M`. */
  const compact = (n) => {
    if (n < 1_000) return String(n);
    if (n < 999_500) return `${trimmed(n / 1_000, n < 99_950 ? 1 : 0)}k`;
    return `${trimmed(n / 1_000_000, n < 99_950_000 ? 1 : 0)}M`;
  };

  const trimmed = (value, decimals) => value.toFixed(decimals).replace(/\.0+$/, '');

  /** One thing, or several: `1 span`, `12 spans`. */
  const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

  /**
   * A duration in microseconds, with three or four digits: `812 ns`, `6.50 ms`, `87.46 ms`, `2 min 05 s`.
   * A negative one is possible, because clocks differ.
   */
  const duration = (us) => {
    if (!Number.isFinite(us)) return '–';
    if (us < 0) return `−${duration(-us)}`;
    if (us === 0) return '0 µs';
    if (us < 0.9995) return `${Math.round(us * 1_000)} ns`;
    if (us < 999.5) return `${us.toFixed(us < 9.995 ? 2 : us < 99.95 ? 1 : 0)} µs`;
    const ms = us / 1_000;
    if (ms < 999.95) return `${ms.toFixed(ms < 99.995 ? 2 : 1)} ms`;
    const s = ms / 1_000;
    if (s < 59.995) return `${s.toFixed(2)} s`;
    const whole = Math.round(s);
    const two = (n) => String(n).padStart(2, '0');
    if (whole < 3_600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
    return `${count(Math.floor(whole / 3_600))} h ${two(Math.floor((whole % 3_600) / 60))} min`;
  };

  /** A time since the start of a transaction, in microseconds: as a duration, but with digits that tell neighbours apart. */
  const offset = (us) => {
    if (us < 0) return `−${offset(-us)}`;
    if (us < 99_995 || us >= 3_600_000_000) return duration(us);
    return us < 999_995 ? `${(us / 1_000).toFixed(2)} ms` : `${(us / 1e6).toFixed(us < 99_999_950 ? 4 : 3)} s`;
  };

  /** A duration in microseconds without rounding: `87,460.123 µs`. */
  const exactDuration = (us) => (Number.isFinite(us) ? `${us < 0 ? '−' : ''}${count(Math.abs(us))} µs` : '–');

  /** What a person types for a duration, in microseconds: `250ms`, `1.5 s`, `80us`, a plain number as milliseconds; or null. */
  const parseDuration = (text) => {
    const found = /^\s*(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|µs|μs|ms|s|min|m)?\s*$/i.exec(text);
    if (!found) return null;
    const factor = { ns: 0.001, us: 1, µs: 1, μs: 1, ms: 1_000, s: 1_000_000, m: 60_000_000, min: 60_000_000 };
    return Number(found[1]) * factor[(found[2] ?? 'ms').toLowerCase()];
  };

  const two = (n) => String(n).padStart(2, '0');
  const day = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = (date) => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const dateOf = (ns) => new Date(Number(BigInt(ns) / 1_000_000n));

  /** The local time of nanoseconds since the epoch (a decimal string), with the day unless it is `now`'s: `16:38:02.123`. */
  const time = (ns, now = new Date()) => {
    const date = dateOf(ns);
    const text = `${clock(date)}.${String(date.getMilliseconds()).padStart(3, '0')}`;
    return day(date) === day(now) ? text : `${day(date)} ${text}`;
  };

  /** The local time to the nanosecond, with its offset from UTC: `2026-11-30 16:38:02.123456789 UTC+01:00`. */
  const exactTime = (ns) => {
    const date = dateOf(ns);
    const minutes = -date.getTimezoneOffset();
    const sign = minutes < 0 ? '−' : '+';
    const zone = `UTC${sign}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
    return `${day(date)} ${clock(date)}.${String(BigInt(ns) % 1_000_000_000n).padStart(9, '0')} ${zone}`;
  };

  /** The absolute time of what is `us` microseconds (with up to three decimals) after `ns`, as a decimal string. */
  const later = (ns, us) => String(BigInt(ns) + BigInt(Math.round(us * 1_000)));

  /** Orders two times in nanoseconds that are decimal strings, the later one first. */
  const newestFirst = (a, b) => b.length - a.length || (a < b ? 1 : a > b ? -1 : 0);

  /** A rate that is given for a second, for a second or for a minute: `4.2/s`, `12/min`. */
  const rate = (perSecond) => {
    if (!(perSecond > 0)) return '0/s';
    if (perSecond >= 0.95)
      return `${perSecond < 99.5 ? trimmed(perSecond, perSecond < 9.95 ? 1 : 0) : compact(Math.round(perSecond))}/s`;
    return `${trimmed(perSecond * 60, perSecond * 60 < 9.95 ? 1 : 0)}/min`;
  };

  /** A size in bytes: `812 B`, `3.4 KiB`, `256 MiB`. */
  const bytes = (n) => {
    let value = n;
    for (const unit of ['B', 'KiB', 'MiB']) {
      if (value < 1_000) return `${trimmed(value, unit === 'B' || value >= 99.95 ? 0 : 1)} ${unit}`;
      value /= 1_024;
    }
    return `${trimmed(value, value >= 99.95 ? 0 : 1)} GiB`;
  };

  // Control characters, those that turn the direction of text or are not seen, and halves of surrogate pairs.
  const UNSEEN = new RegExp(
    [
      '[\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f]',
      '[\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]',
      '[\\ud800-\\udbff](?![\\udc00-\\udfff])',
      '(?<![\\ud800-\\udbff])[\\udc00-\\udfff]',
    ].join('|'),
    'g',
  );

  const shown = (character) => `\u27e8U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}\u27e9`;

  /** Text from elsewhere, with what a person would not see shown: the turn of direction U+202E as `⟨U+202E⟩`. */
  const visible = (text) => String(text).replace(UNSEEN, shown);

  /** The same, cut to `limit` UTF-16 units with an ellipsis. */
  const clipped = (text, limit) => {
    const whole = String(text);
    return whole.length <= limit ? visible(whole) : `${visible(whole.slice(0, limit))}…`;
  };

  RV.format = {
    bytes,
    clipped,
    compact,
    count,
    duration,
    exactDuration,
    exactTime,
    later,
    many,
    newestFirst,
    offset,
    parseDuration,
    rate,
    time,
    visible,
  };
})();
