// The bar above the list of transactions: what is searched for.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, icon } = RV.dom;

  /** Names that are offered for a field. */
  const MOST_NAMES = 500;

  const field = (label, input) => h('label.field', h('span.field-name', label), input);

  const durationText = (us) => (us ? RV.format.duration(Number(us)).replace(' ', ' ') : '');

  /**
   * The bar for `query`. `changed(query)` is called with what a person asks for, a moment after the last key or at once for Enter.
   * `names()` is a promise of the known `{services, channels}`.
   */
  const create = (query, names, changed) => {
    const text = h('input', {
      type: 'search',
      name: 'text',
      id: 'search',
      placeholder: 'Name, attribute, or a trace id',
      value: query.text ?? '',
      autocomplete: 'off',
      spellcheck: 'false',
      'aria-keyshortcuts': '/',
    });
    const service = h('input', {
      name: 'service',
      list: 'known-services',
      value: query.service ?? '',
      autocomplete: 'off',
      placeholder: 'any',
    });
    const channel = h('input', {
      name: 'channel',
      list: 'known-channels',
      value: query.channel ?? '',
      autocomplete: 'off',
      placeholder: 'any',
    });
    const least = h('input.short', { name: 'min_us', value: durationText(query.min_us), placeholder: '0 ms', autocomplete: 'off' });
    const most = h('input.short', { name: 'max_us', value: durationText(query.max_us), placeholder: 'any', autocomplete: 'off' });
    const errors = h('input', { type: 'checkbox', name: 'errors', checked: query.errors === '1' });
    const services = h('datalist', { id: 'known-services' });
    const channels = h('datalist', { id: 'known-channels' });
    const clear = h('button.quiet', { type: 'button', onclick: () => empty() }, 'Clear');

    const read = () => {
      const asked = {
        text: text.value.trim(),
        service: service.value.trim(),
        channel: channel.value.trim(),
        errors: errors.checked ? '1' : '',
      };
      for (const [name, input] of [
        ['min_us', least],
        ['max_us', most],
      ]) {
        const us = RV.format.parseDuration(input.value);
        const isWrong = input.value.trim() !== '' && us === null;
        input.setAttribute('aria-invalid', String(isWrong));
        input.title = isWrong ? 'A duration is written as 250ms, 1.5s or 80us.' : '';
        asked[name] = us === null ? '' : String(us);
      }
      clear.hidden = !Object.values(asked).some(Boolean);
      return Object.fromEntries(Object.entries(asked).filter(([, value]) => value));
    };

    let timer = 0;
    const ask = () => {
      clearTimeout(timer);
      const asked = read();
      const trace = RV.route.traceIn(asked.text ?? '');
      if (trace) location.hash = RV.route.trace(trace.trace, trace.span);
      else changed(asked);
    };
    const empty = () => {
      for (const input of [text, service, channel, least, most]) input.value = '';
      errors.checked = false;
      ask();
      text.focus();
    };

    const form = h(
      'form.filters',
      {
        role: 'search',
        'aria-label': 'Search transactions',
        onsubmit: (event) => {
          event.preventDefault();
          ask();
        },
        oninput: () => {
          clearTimeout(timer);
          timer = setTimeout(ask, 250);
        },
      },
      h(
        'label.field.search',
        icon('search'),
        h('span.hidden-label', 'Search by name, attribute or trace id'),
        text,
        h('kbd', { 'aria-hidden': 'true' }, '/'),
      ),
      field('Service', service),
      field('Channel', channel),
      field('At least', least),
      field('At most', most),
      h('label.field.check', errors, h('span', 'Errors only')),
      clear,
      services,
      channels,
    );

    const learn = async () => {
      const known = await names();
      RV.dom.fill(
        services,
        known.services.slice(0, MOST_NAMES).map((name) => h('option', { value: name })),
      );
      RV.dom.fill(
        channels,
        known.channels.slice(0, MOST_NAMES).map((name) => h('option', { value: name })),
      );
    };
    learn().catch(() => {});
    read();
    return { element: form, learn, end: () => clearTimeout(timer) };
  };

  RV.filters = { create };
})();
