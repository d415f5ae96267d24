// The scope of the caller's token: what of a write the server would refuse (pkg/auth).
import type { Preview, Schema, Write } from './api';

/** What a body says of the names that it touches: its own, and the features of a test. */
type Body = { name?: string; groups?: { variants: Record<string, string> }[] } | undefined;

/**
 * outside says why a scope does not permit a write, '' if it does. What else the write
 * touches is known from its dry run, or named.
 */
export function outside(scope: string[], w: Write, preview?: Preview, touched: string[] = []): string {
  if (scope.length === 0) return '';
  const changes = (preview?.result as Partial<Schema['Reverted']> | null | undefined)?.changes;
  const paths = [...(preview?.removes ?? []), ...(Array.isArray(changes) ? changes.map((c) => c.resource) : [])];
  const names = [...named(w.url.replace(/^\/v1\/|\?.*/g, ''), w.body as Body), ...paths.flatMap((path) => named(path)), ...touched];
  const first = names.find((name) => name === null || !includes(scope, name));
  if (first === undefined) return '';
  return `Your token's scope is ${scope.join(', ')}: ${first === null ? 'subjects and buckets are' : `${first} is`} outside of it.`;
}

/** named lists the names in the path of a resource; null is outside every scope. */
function named(path: string, body?: Body): (string | null)[] {
  const [kind, name = body?.name ?? '', part, feature] = path.split('/');
  switch (kind) {
    case 'features': return [name];
    case 'abtests': return [name, ...Object.keys(body?.groups?.[0]?.variants ?? {})];
    case 'groups': return part === 'overrides' ? [name, feature!] : [name];
    case 'audit': return []; // a revert: its dry run says what it changes
    default: return [null];
  }
}

/** includes matches a name as a whole: * is any number of any characters, ? is one. */
function includes(scope: string[], name: string): boolean {
  return scope.some((glob) => new RegExp(`^${glob.replace(/\./g, '\\.').replace(/\*/g, '.*').replace(/\?/g, '.')}$`).test(name));
}
