// Payloads are texts here, read and sent as they are: JavaScript would round large numbers
// and sort keys.

/** The parts of a JSON text, without white space. */
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{},:]|[^\s[\]{},:"]+/g;

/**
 * payloadsAsTexts makes each payload of an answer a string that has its JSON as it was sent.
 * It is the one after whether its variant is the disabling one: payload may also be a name.
 */
export function payloadsAsTexts(json: string): string {
  if (!json.includes('"payload"')) return json;
  let [out, copied, start, depth] = ['', 0, -1, 0]; // start is that of a payload, -1 outside
  let before: string[] = []; // the last tokens
  for (const { 0: token, index } of json.matchAll(tokens)) {
    const end = index + token.length;
    if (start < 0) {
      if (token === ':' && before[5] === '"payload"' && before[1] === '"disabling"') start = end;
    } else {
      if (token === '{' || token === '[') depth++;
      if (token === '}' || token === ']') depth--;
      if (depth === 0) {
        const text = json.slice(start, end).trim();
        out += json.slice(copied, start) + (text === 'null' ? text : JSON.stringify(text));
        [copied, start] = [end, -1];
      }
    }
    before = [...before.slice(-5), token];
  }
  return out + json.slice(copied);
}

/** indented lays JSON out with a line for each value, and changes nothing else of it. */
export function indented(json: string): string {
  let [out, margin, last] = ['', '\n', ''];
  for (const [token] of json.matchAll(tokens)) {
    const closes = token === '}' || token === ']';
    const opened = last === '{' || last === '[';
    if (closes) margin = margin.slice(0, -2);
    if (last === ',' || closes !== opened) out += margin;
    out += token === ':' ? ': ' : token;
    if (token === '{' || token === '[') margin += '  ';
    last = token;
  }
  return out;
}

/** jsonFault says what is wrong with a text as JSON, '' if nothing is. */
export function jsonFault(text: string): string {
  if (text.trim() === '') return '';
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    return `This is not JSON: ${(error as Error).message}`;
  }
}

/** payloadText is the JSON of a payload, '' for none. */
export function payloadText(payload: unknown): string {
  return typeof payload === 'string' ? payload : '';
}

/** payloadDraft is the name of the draft of a payload; see edited.svelte.ts. */
export function payloadDraft(feature: string, variant: string): string {
  return `payload of ${variant} of ${feature}`;
}

/** withPayload is a body whose payload is the text itself, null for none. */
export function withPayload<T extends { payload?: unknown }>(body: Omit<T, 'payload'>, text: string): T {
  const rest = JSON.stringify(body).slice(1, -1);
  return new Blob([`{${rest}${rest && ','}"payload":${text.trim() || 'null'}}`], { type: 'application/json' }) as unknown as T;
}
