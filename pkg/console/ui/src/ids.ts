// Ids of subjects from what people have: lines, a line of several, or a CSV.

/** idsOf reads pasted text. Ids may have commas and spaces, so only a single line is split. */
export function idsOf(text: string): string[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  const ids = lines.length === 1 ? lines[0]!.split(/[,;\t]/).map((part) => part.trim()).filter(Boolean) : lines;
  return [...new Set(ids)];
}

/** idsOfCSV reads the first column of a CSV (RFC 4180; the separator may be a semicolon or a tab), without its header. */
export function idsOfCSV(text: string): string[] {
  const ids: string[] = [];
  let field = '';
  let first = true; // in the first column
  let quoted = false;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (quoted && c !== undefined) {
      if (c !== '"') field += first ? c : '';
      else if (text[i + 1] === '"') field += first ? text[i++]! : (i++, '');
      else quoted = false;
    } else if (c === '"') {
      quoted = true;
    } else if (c === '\n' || c === undefined) {
      if (field.trim()) ids.push(field.trim());
      field = '';
      first = true;
    } else if (c === ',' || c === ';' || c === '\t') {
      first = false;
    } else if (first && c !== '\r') {
      field += c;
    }
  }
  if (ids[0]?.toLowerCase() === 'id') ids.shift();
  return ids;
}
