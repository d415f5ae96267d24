// Payloads are sent as they were typed: JavaScript would round large numbers.

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

/** jsonText shows a payload, '' for none. */
export function jsonText(payload: unknown): string {
  return payload === null || payload === undefined ? '' : JSON.stringify(payload, null, 2);
}

/** withPayload is a body whose payload is the text itself, null for none. */
export function withPayload<T extends { payload?: unknown }>(body: Omit<T, 'payload'>, text: string): T {
  const rest = JSON.stringify(body).slice(1, -1);
  return new Blob([`{${rest}${rest && ','}"payload":${text.trim() || 'null'}}`], { type: 'application/json' }) as unknown as T;
}
