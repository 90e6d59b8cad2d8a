// Short messages at the foot of the page, and long ones in place of what could not be shown.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, fill } = RV.dom;

  let timer = 0;

  /** Shows a sentence for some seconds, and says it to a screen reader. An error stays until it is closed. */
  const show = (text, isError = false) => {
    const place = document.getElementById('notice');
    const close = () => {
      place.hidden = true;
    };
    fill(
      place,
      isError && RV.dom.icon('error', 'Error'),
      h('span', RV.format.clipped(text, 600)),
      RV.dom.iconButton('close', 'Close the message', close),
    );
    place.classList.toggle('is-error', isError);
    place.hidden = false;
    clearTimeout(timer);
    if (!isError) timer = setTimeout(close, 5_000);
    RV.dom.announce(text);
  };

  /** A message in place of content: a heading, sentences, and commands to copy. */
  const empty = (heading, sentences, commands = []) =>
    h(
      'div.empty',
      h('h2', heading),
      sentences.map((sentence) => h('p', sentence)),
      commands.map(([what, command]) =>
        h(
          'div.command',
          h('p', what),
          h(
            'div.command-line',
            h('code', command),
            RV.dom.iconButton('copy', `Copy the command: ${command}`, () => RV.dom.copy(command, 'Command')),
          ),
        ),
      ),
    );

  RV.notice = { show, empty };
})();
