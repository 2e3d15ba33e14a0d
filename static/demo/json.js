/** JSON text in pieces for a document: keys, strings and other values in elements of their own. */
export function colouredJson(text) {
  const token = /("(?:\\.|[^"\\])*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null/g;
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(token)) {
    pieces.push(text.slice(end, match.index));
    const piece = document.createElement('span');
    piece.textContent = match[1] ?? match[0];
    piece.className = match[2] ? 'json-key' : match[1] ? 'json-text' : 'json-other';
    pieces.push(piece, match[2] ?? '');
    end = match.index + match[0].length;
  }
  return [...pieces, text.slice(end)];
}
