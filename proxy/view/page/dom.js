// Elements made by script. Text becomes text nodes only, so that nothing from elsewhere is ever read as HTML.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const SVG = 'http://www.w3.org/2000/svg';

  const append = (element, children) => {
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      element.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  };

  const dress = (element, properties) => {
    for (const [name, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
      else if (name === 'css') for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
      else element.setAttribute(name, value === true ? '' : String(value));
    }
  };

  const isProperties = (value) => value !== null && typeof value === 'object' && !(value instanceof Node) && !Array.isArray(value);

  const make = (element, classes, rest) => {
    const properties = isProperties(rest[0]) ? rest[0] : {};
    if (classes.length > 0) element.setAttribute('class', classes.join(' '));
    dress(element, properties);
    append(element, rest[0] === properties ? rest.slice(1) : rest);
    return element;
  };

  /** An element as `h('button.small', {type: 'button', onclick}, 'text', child, …)`. `css` holds properties of its style. */
  const h = (spec, ...rest) => {
    const [tag, ...classes] = spec.split('.');
    return make(document.createElement(tag), classes, rest);
  };

  /** The same for SVG. */
  const s = (spec, ...rest) => {
    const [tag, ...classes] = spec.split('.');
    return make(document.createElementNS(SVG, tag), classes, rest);
  };

  /** Text from elsewhere: isolated, so that its direction does not turn what stands beside it, and without unseen characters. */
  const foreign = (text, limit = 200, spec = 'bdi.foreign') => {
    const whole = String(text);
    return h(spec, whole.length > limit ? { title: RV.format.clipped(whole, 2_000) } : {}, RV.format.clipped(whole, limit));
  };

  // Drawings of 16 by 16, in strokes of the text's colour.
  const ICONS = {
    open: 'M2.5 12.5V4a1 1 0 0 1 1-1h3l1.5 2h4.5a1 1 0 0 1 1 1v1M2.5 12.5l1.8-5h10.2l-1.8 5z',
    help: 'M6 6a2 2 0 1 1 3 1.7c-.7.4-1 .8-1 1.6M8 11.6v.2',
    sun:
      'M8 5.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6M8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6' +
      'M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M3.4 12.6l1.1-1.1M11.5 4.5l1.1-1.1',
    moon: 'M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z',
    auto: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11M8 2.5v11M8 5h3.6M8 8h5.4M8 11h3.6',
    error: 'M8 2.2 14.2 13H1.8zM8 6.2v3.2M8 11.2v.2',
    link:
      'M6.8 9.2a2.6 2.6 0 0 0 3.7 0l2-2a2.6 2.6 0 0 0-3.7-3.7l-.7.7' +
      'M9.2 6.8a2.6 2.6 0 0 0-3.7 0l-2 2a2.6 2.6 0 0 0 3.7 3.7l.7-.7',
    copy: 'M6 6h7.5v7.5H6zM3.5 10H2.5V2.5H10v1',
    close: 'M4 4l8 8M12 4l-8 8',
    down: 'M4 6l4 4 4-4',
    right: 'M6 4l4 4-4 4',
    save: 'M8 2.5v7.5M4.8 7 8 10.2 11.2 7M2.5 13.5h11',
    server: 'M2 8h7M6.5 5 9.5 8l-3 3M12.5 3v10',
    client: 'M3.5 3v10M6.5 8H14M11 5l3 3-3 3',
    producer: 'M8 13V4M4.5 7.5 8 4l3.5 3.5M3 2h10',
    consumer: 'M8 3v9M4.5 8.5 8 12l3.5-3.5M3 14h10',
    internal: 'M8 5.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5',
    search: 'M7 2.8a4.2 4.2 0 1 1 0 8.4 4.2 4.2 0 0 1 0-8.4M10.2 10.2l3.3 3.3',
    inferred: 'M3 13 13 3M9 3h4v4',
    check: 'M3.5 8.5l3 3 6-7',
    fit: 'M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10',
  };

  const drawn = new Map();

  /** A drawing. Without `title` it says nothing to a screen reader. Each is made once and copied, because rows have many. */
  const icon = (name, title) => {
    const key = `${name} ${title ?? ''}`;
    if (!drawn.has(key)) {
      drawn.set(
        key,
        s(
          'svg.icon',
          {
            viewBox: '0 0 16 16',
            'aria-hidden': title ? null : 'true',
            role: title ? 'img' : null,
            'aria-label': title ?? null,
          },
          title && s('title', title),
          s('path', { d: ICONS[name] }),
        ),
      );
    }
    return drawn.get(key).cloneNode(true);
  };

  /** A button. `name` is what a screen reader says, and what is shown where the pointer rests. */
  const iconButton = (name, label, onclick, more = {}) =>
    h('button.icon-button', { type: 'button', 'aria-label': label, title: label, onclick, ...more }, icon(name));

  /** The colour of a service as a mark, and its name. */
  const service = (name) => h('span.service', swatch(name), foreign(name, 80, 'bdi.service-name'));

  const swatch = (name) => h('i.swatch', { 'data-colour': RV.colours.of(RV.colours.shared, name), 'aria-hidden': 'true' });

  /** A time, with all its digits where the pointer rests. */
  const time = (ns) => h('time', { title: RV.format.exactTime(ns) }, RV.format.time(ns));

  const duration = (us) => h('span.number', { title: RV.format.exactDuration(us) }, RV.format.duration(us));

  /** Puts `children` into `element` in place of all that it holds. */
  const fill = (element, ...children) => {
    element.replaceChildren();
    append(element, children);
    return element;
  };

  /** Says `text` to a screen reader. */
  const announce = (text) => {
    const place = document.getElementById('spoken');
    place.textContent = '';
    place.textContent = text;
  };

  /** Copies text, and says whether that was possible. */
  const copy = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
      RV.notice.show(`${what} copied`);
    } catch {
      RV.notice.show(`The browser does not let the page copy. It is: ${text}`);
    }
  };

  const place = (element, left, width) => {
    element.style.setProperty('left', left);
    element.style.setProperty('width', width);
  };

  RV.dom = { announce, copy, duration, fill, foreign, h, icon, iconButton, place, s, service, swatch, time };
})();
