// Which of the style sheet's colours a service has. The colour is chosen by the name, so a service looks the same in each view and
// after a reload; where two names choose one colour, the second takes the next free one. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  /** The colours `--service-0` to `--service-11` of the style sheet. */
  const COLOURS = 12;

  const hash = (text) => {
    let value = 0x811c9dc5;
    for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
    return (value ^ (value >>> 15)) >>> 0;
  };

  const create = () => ({ byName: new Map(), uses: new Array(COLOURS).fill(0) });

  /** The colour of the service `name`. With more services than colours, one of the least used is shared. */
  const of = (palette, name) => {
    const known = palette.byName.get(name);
    if (known !== undefined) return known;
    const least = Math.min(...palette.uses);
    let colour = hash(name) % COLOURS;
    // Five is prime to twelve, so all are tried, and neighbours in the list of colours are not confused.
    while (palette.uses[colour] > least) colour = (colour + 5) % COLOURS;
    palette.uses[colour] += 1;
    palette.byName.set(name, colour);
    return colour;
  };

  RV.colours = { COLOURS, create, of, shared: create() };
})();
