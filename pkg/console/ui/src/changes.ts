// The entries of the audit in words.
import type { Schema } from './api';
import { count, percent } from './format';
import { label } from './variants';

type Entry = Schema['AuditEntry'];
type Body = Record<string, unknown>;

/** describe says what an entry changed of a feature, which is named elsewhere. */
export function describe(e: Entry): string {
  const before = e.before as Body | null;
  const after = e.after as Body | null;
  const [, , kind, name] = e.resource.split('/').map(decodeURIComponent);
  const variant = (body: Body | null) => (body ? label(String(body['variant'])) : 'none');
  if (e.resource.startsWith('groups/')) {
    const group = e.resource.split('/')[1];
    return after ? `Group ${group} gets ${variant(after)}${before ? ` instead of ${variant(before)}` : ''}` : `Group ${group} gets ${variant(before)} no more`;
  }
  switch (kind) {
    case 'rollout':
      if (!after) return `Rollout of ${variant(before)} deleted`;
      if (!before) return `Rollout of ${variant(after)}${after['proportion'] ? ` to ${percent(Number(after['proportion']))}` : ' begun'}`;
      return before['variant'] === after['variant']
        ? `Rollout ${percent(Number(before['proportion']))} → ${percent(Number(after['proportion']))}`
        : `Rollout of ${variant(before)} ${percent(Number(before['proportion']))} → of ${variant(after)} ${percent(Number(after['proportion']))}`;
    case 'default_variant':
      return `Default ${variant(before)} → ${variant(after)}`;
    case 'variants':
      return `Variant ${label(name ?? '')} ${!before ? 'added' : !after ? 'deleted' : 'has another payload'}`;
  }
  if (!before) return 'Created';
  if (!after) return 'Deleted';
  const changed = Object.keys(after).filter((field) => field !== 'revision' && JSON.stringify(after[field]) !== JSON.stringify(before[field]));
  if (changed.includes('off')) return after['off'] ? 'Switched off' : 'Switched on';
  if (changed.includes('archived')) return after['archived'] ? 'Archived' : 'Restored';
  return `Changed ${changed.join(' and ')}`;
}

/** byRevision groups entries by their revision, the last first; what was done last is named first. */
export function byRevision(entries: Entry[]): { revision: number; entry: Entry; what: string }[] {
  const revisions = new Map<number, Entry[]>();
  for (const e of entries) revisions.set(e.revision, [...(revisions.get(e.revision) ?? []), e]);
  return [...revisions]
    .sort(([a], [b]) => b - a)
    .map(([revision, rows]) => {
      // A feature made or deleted as a whole is one thing.
      const whole = rows.find((e) => e.resource.split('/').length === 2 && (!e.before || !e.after));
      const said = whole ? [whole] : rows;
      return {
        revision,
        entry: rows[0]!,
        what: said.slice(0, 2).map(describe).join('; ') + (said.length > 2 ? `; ${count(said.length - 2, 'more change')}` : ''),
      };
    });
}
