// A client of the admin's API, with the types of its OpenAPI document.
import type { components, paths } from './contract';
import { payloadsAsTexts } from './json';

export type Schema = components['schemas'];
export type Path = keyof paths;
export type WriteMethod = 'post' | 'put' | 'patch' | 'delete';

type Operation<P extends Path, M extends string> = M extends keyof paths[P] ? NonNullable<paths[P][M]> : never;
type Parameters<O, In extends string> = O extends { parameters: { [K in In]?: infer V } } ? NonNullable<V> : never;
type JSONOf<A> = A extends { content: { 'application/json': infer V } } ? V : never;
type AnswerOf<O> = O extends { responses: infer R } ? JSONOf<R[keyof R & (200 | 201)]> : never;
type BodyOf<O> = O extends { requestBody?: { content: { 'application/json': infer V } } } ? V : undefined;

/** Options of a call: the parts of its path, its query and, for writes, its body. */
interface Options<O> {
  path?: Parameters<O, 'path'>;
  query?: Parameters<O, 'query'>;
  body?: BodyOf<O>;
}

/** Answer is the body of an answer with what its headers say. */
export interface Answer<T> {
  value: T;
  etag: string; // '' for none
  revision: number;
}

/** Write is a request that changes something. It can be tried first; see change.svelte.ts. */
export interface Write<T = unknown> {
  method: WriteMethod;
  url: string;
  body: unknown; // undefined for none
  etag: string; // '' to write whatever the version is
  readonly answer?: T; // never set: the type of the stored resource
}

/** Effect is what a write would change, or has changed. */
export type Effect = Pick<Schema['DryRunRollout'], 'affected' | 'changes' | 'heaviest'>;
/** Preview is the answer of a dry run. */
export type Preview<T = unknown> = Effect & { drawn?: boolean; removes?: string[]; result: T };

/** Problem is an answer that is no success, or a failure to get one (status 0). */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly errors: Schema['FieldError'][];
  readonly current: string;
  readonly changed: Schema['Changed'] | undefined;
  readonly conflicts: Schema['Conflict'][];
  readonly usedBy: NonNullable<Schema['Problem']['used_by']>;
  readonly retryAfter: number; // seconds, 0 if unknown

  constructor(status: number, body: Partial<Schema['Problem']>, retryAfter = 0) {
    super(body.detail ?? body.title ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? '';
    this.errors = body.errors ?? [];
    this.current = body.current ?? '';
    this.changed = body.changed;
    this.conflicts = body.conflicts ?? [];
    this.usedBy = body.used_by ?? [];
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** The message for a field of the request or what is in it, '' for none. */
  at(location: string): string {
    const within = (place: string) => place === location || place.startsWith(`${location}[`) || place.startsWith(`${location}.`);
    return this.errors.filter((e) => within(e.location)).map((e) => e.message).join('; ');
  }
}

/** url fills a template such as /v1/features/{feature} and adds the query. */
export function url(template: string, path: Record<string, unknown> = {}, query: Record<string, unknown> = {}): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(path[name])));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') search.set(name, String(value));
  }
  return search.size ? `${filled}?${search}` : filled;
}

/** read gets a resource. */
export async function read<P extends Path>(
  template: P,
  options: Options<Operation<P, 'get'>> = {},
  signal?: AbortSignal,
): Promise<Answer<AnswerOf<Operation<P, 'get'>>>> {
  return call('GET', url(template, options.path, options.query as Record<string, unknown>), {}, undefined, signal);
}

/** write makes a write without sending it. etag is of the version that it is based on. */
export function write<M extends WriteMethod, P extends Path>(
  method: M,
  template: P,
  options: Options<Operation<P, M>> = {},
  etag = '',
): Write<Exclude<AnswerOf<Operation<P, M>>, { dry_run: boolean }>> {
  return { method, url: url(template, options.path, options.query as Record<string, unknown>), body: options.body, etag };
}

/** send sends a write, or tries it with the query {dry_run: true}. id names it in the audit. */
export async function send<T>(w: Write, query: Record<string, unknown>, id = '', signal?: AbortSignal): Promise<Answer<T>> {
  const headers: Record<string, string> = {};
  if (w.etag) headers['If-Match'] = w.etag;
  if (id) headers['X-Request-Id'] = id;
  const search = new URLSearchParams(url('', {}, query).slice(1));
  const target = search.size ? `${w.url}${w.url.includes('?') ? '&' : '?'}${search}` : w.url;
  return call(w.method.toUpperCase(), target, headers, w.body, signal);
}

async function call<T>(method: string, target: string, headers: Record<string, string>, body?: unknown, signal?: AbortSignal): Promise<Answer<T>> {
  const init: RequestInit = { method, headers: { Accept: 'application/json', ...headers } };
  if (signal) init.signal = signal;
  if (body instanceof Blob) {
    init.body = body; // a file with its own media type
  } else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, 'Content-Type': 'application/json' };
  }
  let response: Response;
  try {
    response = await fetch(target, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, { detail: 'The server cannot be reached.' });
  }
  const text = await response.text().catch(() => '');
  const value = parse(text);
  if (!response.ok) {
    throw new Problem(response.status, (value ?? {}) as Partial<Schema['Problem']>, Number(response.headers.get('Retry-After')) || 0);
  }
  return {
    value: value as T,
    etag: response.headers.get('ETag') ?? '',
    revision: Number(response.headers.get('Flaggery-Revision')) || 0,
  };
}

function parse(text: string): unknown {
  try {
    return text ? JSON.parse(payloadsAsTexts(text)) : undefined;
  } catch {
    return undefined; // a proxy's page
  }
}
