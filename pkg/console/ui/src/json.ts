// Payloads are texts here, read and sent as they are: JavaScript would round large numbers
// and sort keys.

/** The parts of a JSON text, without white space. */
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{},:]|[^\s[\]{},:"]+/g;

/**
 * payloadsAsTexts makes each payload of an answer a string that has its JSON as it was sent.
 * It is the one after whether its variant is the disabling one: payload may also be a name.
 */
export function payloadsAsTexts(json: string): string {
  let [out, end] = ['', 0];
  for (const { 0: before, index } of json.matchAll(/"disabling":\s*(?:true|false),\s*"payload":\s*/g)) {
    if (index < end) continue; // it is in a payload
    const start = index + before.length;
    out += json.slice(end, start);
    end = endOfValue(json, start);
    const text = json.slice(start, end);
    out += text === 'null' ? text : JSON.stringify(text);
  }
  return out + json.slice(end);
}

function endOfValue(json: string, start: number): number {
  let depth = 0;
  for (const { 0: token, index } of json.slice(start).matchAll(tokens)) {
    if (token === '{' || token === '[') depth++;
    if (token === '}' || token === ']') depth--;
    if (depth === 0) return start + index + token.length;
  }
  return json.length;
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
