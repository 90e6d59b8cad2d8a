// The page's scripts that touch no document, as tests load them: `const { format } = load('format')`.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Loads scripts in the given order, which must be that of the page, and returns what they share. */
export const load = (...names) => {
  for (const name of names) require(`../${name}.js`);
  return globalThis.RV;
};

/** A span as the program tells it, with `over` in place of what it names. */
export const span = (over) => ({
  id: '0000000000000001',
  parent: null,
  resource: 0,
  name: 'SET',
  kind: 'client',
  start_us: 0,
  duration_us: 1,
  status: 'unset',
  message: '',
  inferred: null,
  attributes: [],
  events: [],
  links: [],
  linked_from: [],
  ...over,
});
