// What the stable names of rules and reasons mean, in a sentence each.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  // See proxy/docs/causes.md, where the rules are described.
  const RULES = {
    token: 'It names something that, of everything in work, only this cause has.',
    work: 'It names an id that earlier commands have used, and of those in work only this one can have sent them.',
    transaction: 'It is in a MULTI whose first command has this cause.',
    succession: 'It follows what this cause has just done, as such commands nearly always do, and nothing else was due.',
    connection: 'Of several that were due, this cause used the connection last, as nearly always before.',
    flow: 'Each of a kind does this exactly once, and this is the only one that had not done it yet.',
    alone: 'Nobody else was in work, and such commands do not come by themselves.',
    answered: 'It names an id that only this request has, which had just been answered, or only this message.',
    joined: 'A later command named both the id that these use and the cause.',
    before: 'A later command that always follows these has the cause.',
    response: 'The response to the request told the id that these use.',
    batch: 'The service has collected several messages, and all of them are causes.',
  };

  /** What a rule by which a cause was inferred means; a sentence for any name. */
  const rule = (name) => RULES[name] ?? 'The sidecar inferred it from what the service received and sent.';

  RV.rules = { rule, names: Object.keys(RULES) };
})();
