// Saved traces: opened by a button, or by letting a file fall onto the page.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  /** What the program accepts, in bytes. */
  const MOST = 64 * 1024 * 1024;

  const open = async (file) => {
    if (!file) return;
    if (file.size > MOST) {
      RV.notice.show(`The file has ${RV.format.bytes(file.size)}; at most ${RV.format.bytes(MOST)} can be opened.`, true);
      return;
    }
    try {
      const { transactions } = await RV.server.open(file);
      if (transactions.length === 0) RV.notice.show('There is no span in this file.', true);
      else location.hash = RV.route.trace(transactions[0].trace);
      if (transactions.length > 1)
        RV.notice.show(`${RV.format.many(transactions.length, 'transaction')} opened. This is the first; all are in the list.`);
      else if (transactions.length === 1) RV.notice.show('The trace is open, and kept like those that arrive.');
    } catch (error) {
      RV.notice.show(error.message, true);
    }
  };

  const start = (button, input) => {
    button.addEventListener('click', () => input.click());
    input.addEventListener('change', async () => {
      await open(input.files[0]);
      input.value = '';
    });
    const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
    document.addEventListener('dragover', (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      document.documentElement.classList.add('is-dropping');
    });
    document.addEventListener('dragleave', (event) => {
      if (!event.relatedTarget) document.documentElement.classList.remove('is-dropping');
    });
    document.addEventListener('drop', (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      document.documentElement.classList.remove('is-dropping');
      open(event.dataTransfer.files[0]);
    });
  };

  RV.files = { start };
})();
