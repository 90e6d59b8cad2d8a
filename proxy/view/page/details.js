// What is known of one span, beside the waterfall.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});
  const { h, foreign, icon } = RV.dom;

  /** A value longer than this is shown in part, until somebody asks for the rest. */
  const LONG = 600;
  /** Of attributes, links and events so many are shown, until somebody asks for the rest. */
  const MOST = 200;

  const textOf = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

  const valueOf = (value) => {
    const text = textOf(value);
    const place = h(
      'bdi.foreign.value',
      { 'data-type': Array.isArray(value) ? 'list' : typeof value },
      RV.format.clipped(text, LONG),
    );
    if (text.length <= LONG) return place;
    const all = h(
      'button.quiet.small',
      {
        type: 'button',
        onclick: () => {
          place.textContent = RV.format.visible(text);
          all.remove();
        },
      },
      `all ${RV.format.count(text.length)} characters`,
    );
    return [place, all];
  };

  /** A list of what `make` makes of each of `all`: of the first `most`, and of the others when its button is pressed. */
  const listOf = (spec, all, most, make) => {
    const list = h(spec, all.slice(0, most).map(make));
    if (all.length <= most) return list;
    const rest = h(
      'button.quiet.small',
      {
        type: 'button',
        onclick: () => {
          list.append(...all.slice(most).map(make));
          rest.remove();
        },
      },
      `${RV.format.count(all.length - most)} more`,
    );
    return [list, rest];
  };

  const attribute = ([key, value]) => h('div.attribute', h('dt', foreign(key, 200)), h('dd', valueOf(value)));

  const table = (attributes) => listOf('dl.attributes', attributes, MOST, attribute);

  const section = (title, ...content) => h('section.detail', h('h3', title), content);

  const folded = (title, ...content) => h('details.detail', h('summary', h('h3', title)), content);

  const fact = (name, ...content) => h('div.fact', h('dt', name), h('dd', content));

  class Details {
    /** `go(index)` leads to another span of the transaction, `close()` closes this panel. */
    constructor({ tree, summary, resources, go, close }) {
      Object.assign(this, { tree, summary, resources, go, close });
      this.content = h('div.details-content');
      this.element = h(
        'aside.details',
        { 'aria-label': 'Details of the span', hidden: true, onkeydown: (event) => this.key(event) },
        this.content,
      );
    }

    show(i) {
      const span = this.tree.spans[i];
      const resource = this.resources[span.resource] ?? { service: '', attributes: {} };
      this.heading = h('h2', { tabindex: '-1' }, foreign(span.name, 400));
      RV.dom.fill(
        this.content,
        h(
          'header.details-head',
          h('div.details-title', RV.dom.service(resource.service), this.heading),
          h(
            'div.details-buttons',
            RV.dom.iconButton('copy', 'Copy a link to this span', () => RV.dom.copy(this.address(span.id), 'Link')),
            RV.dom.iconButton('close', 'Close the details', () => this.close()),
          ),
        ),
        this.failure(span),
        this.inference(i, span),
        this.skipped(span),
        this.facts(i, span),
        this.links(span),
        this.events(span),
        section(
          `Attributes (${RV.format.count(span.attributes.length)})`,
          span.attributes.length > 0 ? table(span.attributes) : h('p.muted', 'None.'),
        ),
        folded('Service and process', table(Object.entries(resource.attributes ?? {}))),
      );
      this.element.hidden = false;
      this.element.scrollTop = 0;
    }

    address(span) {
      return new URL(RV.route.trace(this.summary.trace, span), location.href).href;
    }

    failure(span) {
      if (span.status !== 'error') return null;
      const type = span.attributes.find(([key]) => key === 'error.type')?.[1];
      return h(
        'div.callout.is-error',
        icon('error'),
        h(
          'div',
          h('strong', 'Failed'),
          h(
            'p',
            type === undefined ? null : foreign(textOf(type), LONG),
            type !== undefined && span.message && ' – ',
            span.message ? foreign(span.message, LONG) : type === undefined && 'No reason was given.',
          ),
        ),
      );
    }

    inference(i, span) {
      if (!span.inferred) return null;
      const what = this.tree.parent[i] === RV.tree.NONE && span.parent === null ? 'The cause' : 'The parent';
      return h(
        'div.callout.is-inferred',
        icon('inferred'),
        h(
          'div',
          h('strong', `${what} is inferred, by the rule `, foreign(span.inferred, 60)),
          h('p', RV.rules.rule(span.inferred)),
        ),
      );
    }

    skipped(span) {
      const reason = span.attributes.find(([key]) => key === 'redistributed.context.skipped')?.[1];
      if (reason === undefined) return null;
      return h(
        'div.callout',
        icon('link'),
        h(
          'div',
          h('strong', 'The message is not followed from here'),
          h(
            'p',
            'It carries no context, so its deliveries are not below this span. The reason is ',
            foreign(textOf(reason), 80),
            '. ',
            h('a', { href: '#/untraced' }, 'What that means'),
          ),
        ),
      );
    }

    facts(i, span) {
      const { tree } = this;
      const parent = tree.parent[i];
      const children = tree.size[i] - 1;
      return h(
        'dl.facts',
        fact(
          'Starts',
          h('span', { title: RV.format.exactDuration(span.start_us) }, RV.format.offset(span.start_us)),
          h('span.muted', ' after the first'),
        ),
        fact('At', RV.dom.time(RV.format.later(this.summary.start, span.start_us))),
        fact('Duration', RV.dom.duration(span.duration_us)),
        fact('Kind', RV.waterfall.KINDS[span.kind] ?? 'no kind'),
        fact(
          'Parent',
          parent === RV.tree.NONE
            ? span.parent === null
              ? h('span.muted', 'none: it is the first')
              : [h('code', span.parent), h('span.muted', ' has not arrived')]
            : this.way(parent),
        ),
        fact('Below', RV.format.many(children, 'span')),
        fact(
          'Span',
          h('code', span.id),
          RV.dom.iconButton('copy', 'Copy the span id', () => RV.dom.copy(span.id, 'Span id')),
        ),
      );
    }

    // A link to another span of this transaction.
    way(i) {
      const span = this.tree.spans[i];
      return h(
        'a',
        {
          href: RV.route.trace(this.summary.trace, span.id),
          onclick: (event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            this.go(i);
          },
        },
        foreign(`${this.resources[span.resource]?.service ?? ''} ${span.name}`, 120),
      );
    }

    links(span) {
      if (span.links.length + span.linked_from.length === 0) return null;
      const to = span.links.map((link) => () => this.link('to', link, link.known, link.attributes));
      const from = span.linked_from.map((link) => () => this.link('from', link, true, []));
      return section(
        'Links',
        listOf('ul.links', [...to, ...from], MOST, (make) => make()),
      );
    }

    link(direction, { trace, span }, isKnown, attributes) {
      const isHere = trace === this.summary.trace;
      const at = isHere ? this.tree.byId.get(span) : undefined;
      const isWriter = attributes.some(([key, value]) => key === 'redistributed.link' && value === 'writer');
      const words = direction === 'to' ? (isWriter ? 'Written by' : 'Links to') : 'Linked from';
      const others = attributes.filter(([key]) => key !== 'redistributed.link');
      let target;
      if (at !== undefined) target = this.way(at);
      else if (isKnown)
        target = h('a', { href: RV.route.trace(trace, span) }, h('code', span), ' in ', h('code', `${trace.slice(0, 8)}…`));
      else target = [h('code', span), ' in ', h('code', `${trace.slice(0, 8)}…`), h('span.muted', ', which is not kept here')];
      return h('li', icon('link'), h('div', h('span.muted', `${words} `), target, others.length > 0 && table(others)));
    }

    events(span) {
      if (span.events.length === 0) return null;
      const event = ({ name, at_us: at, attributes }) =>
        h(
          'li',
          h('div.event', RV.dom.duration(at - span.start_us), foreign(name, 200)),
          attributes.length > 0 && table(attributes),
        );
      return section(`Events (${RV.format.count(span.events.length)})`, listOf('ol.events', span.events, MOST, event));
    }

    focus() {
      this.heading?.focus();
    }

    key(event) {
      if (event.key !== 'Escape') return;
      event.preventDefault();
      this.close();
    }
  }

  RV.details = { Details };
})();
