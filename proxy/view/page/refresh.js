// Views that are asked for anew while spans arrive: at most once in two seconds, and only while the page is looked at.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  const PAUSE = 2_000;

  /** Asks for the view `name` now and after each change, and hands each answer to `show`. */
  const start = (name, show) => {
    const loading = new AbortController();
    let isAsking = false;
    let isChanged = false;
    let last = 0;
    let timer = 0;

    const ask = async () => {
      if (isAsking) {
        isChanged = true;
        return;
      }
      isAsking = true;
      isChanged = false;
      last = Date.now();
      try {
        show(await RV.server.view(name, loading.signal));
      } catch (error) {
        if (error.name !== 'AbortError') RV.notice.show(error.message, true);
      } finally {
        isAsking = false;
        if (isChanged && !loading.signal.aborted) soon();
      }
    };
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => {
          if (document.visibilityState === 'visible') ask();
          else isChanged = true;
        },
        Math.max(0, last + PAUSE - Date.now()),
      );
    };
    const seen = () => {
      if (document.visibilityState === 'visible' && isChanged) soon();
    };
    document.addEventListener('visibilitychange', seen);
    const stop = RV.server.listen((event) => {
      if (event.type !== 'state') soon();
    });
    ask();
    return {
      end: () => {
        stop();
        clearTimeout(timer);
        loading.abort();
        document.removeEventListener('visibilitychange', seen);
      },
    };
  };

  RV.refresh = { start };
})();
