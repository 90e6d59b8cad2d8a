// Reads a transaction piece by piece as it arrives, so that 50 MB do not hold up the page in one go. The program writes each span
// on a line of its own, and no JSON string has a line feed in it. Nothing here touches the document.
(() => {
  'use strict';
  const RV = (globalThis.RV ??= {});

  /** So many UTF-16 units are parsed at once: some milliseconds' worth. */
  const PIECE = 512 * 1024;

  const create = () => ({ head: null, rest: [], length: 0, hasLine: false, spans: [] });

  /** Takes text that has arrived, and parses what is complete of it if that is enough for a piece. Tells whether it did. */
  const push = (reader, text) => {
    reader.rest.push(text);
    reader.length += text.length;
    reader.hasLine ||= text.includes('\n');
    if (reader.length < PIECE || !reader.hasLine) return false;
    const all = reader.rest.join('');
    const end = all.lastIndexOf('\n');
    take(reader, all.slice(0, end));
    Object.assign(reader, { rest: [all.slice(end + 1)], length: all.length - end - 1, hasLine: false });
    return true;
  };

  const take = (reader, lines) => {
    let body = lines;
    if (reader.head === null) {
      const end = lines.indexOf('\n');
      reader.head = end < 0 ? lines : lines.slice(0, end);
      body = end < 0 ? '' : lines.slice(end + 1);
    }
    const list = body.trim().replace(/^,|,$/g, '');
    // One by one, because a list of 100,000 arguments would be too long.
    if (list) for (const span of JSON.parse(`[${list}]`)) reader.spans.push(span);
  };

  /** The whole document, after all of its text has been taken. */
  const end = (reader) => {
    const rest = reader.rest.join('');
    if (reader.head === null) return JSON.parse(rest);
    const last = rest.lastIndexOf('\n');
    if (last >= 0) take(reader, rest.slice(0, last));
    const tail = last < 0 ? rest : rest.slice(last + 1);
    return { ...JSON.parse(`${reader.head}${tail}`), spans: reader.spans };
  };

  RV.pieces = { PIECE, create, push, end };
})();
