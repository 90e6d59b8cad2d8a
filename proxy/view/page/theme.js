// Light or dark: as the system says, unless the reader has chosen. And small settings, kept in the browser where it lets a page.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const NEXT = { auto: 'light', light: 'dark', dark: 'auto' };
  const ICONS = { auto: 'auto', light: 'sun', dark: 'moon' };

  const setting = (name) => {
    try {
      return localStorage.getItem(`redistributed.${name}`);
    } catch {
      return null;
    }
  };

  const setSetting = (name, value) => {
    try {
      localStorage.setItem(`redistributed.${name}`, value);
    } catch {
      // A browser that keeps nothing for pages shows this one all the same.
    }
  };

  const current = () => (Object.hasOwn(NEXT, setting('theme') ?? '') ? setting('theme') : 'auto');

  const apply = (button) => {
    const theme = current();
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    RV.dom.fill(button, RV.dom.icon(ICONS[theme]));
    const next = NEXT[theme] === 'auto' ? 'those of the system' : NEXT[theme];
    const words = `Colours: ${theme === 'auto' ? 'as the system' : theme}. Change to ${next}`;
    button.setAttribute('aria-label', words);
    button.title = words;
  };

  /** The button that changes the theme. `changed()` is called when colours are others than before. */
  const start = (button, changed) => {
    apply(button);
    button.addEventListener('click', () => {
      setSetting('theme', NEXT[current()]);
      apply(button);
      changed();
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);
  };

  /** The colours of services as a canvas needs them. */
  const serviceColours = () => {
    const probe = RV.dom.h('i', { hidden: true });
    document.body.append(probe);
    const colours = Array.from({ length: RV.colours.COLOURS }, (_, k) => {
      probe.style.setProperty('color', `var(--service-${k})`);
      return getComputedStyle(probe).color;
    });
    probe.remove();
    return colours;
  };

  RV.theme = { start, serviceColours, setting, setSetting };
})();
