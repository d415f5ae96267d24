// The entries of the audit in words.
import type { Schema } from './api';
import { count, exact, percent, utcDate } from './format';
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
  const text = detailsOf(before, after);
  return text[0]!.toUpperCase() + text.slice(1);
}

/** said is a sentence without its actor: "set the rollout of checkout from 10.0 % to 25.0 %". */
export function said(e: Entry): string {
  const before = e.before as Body | null;
  const after = e.after as Body | null;
  const [kind, name = '', part, other = ''] = e.resource.split('/').map(decodeURIComponent);
  const variant = (body: Body | null) => label(String(body!['variant']));
  const share = (body: Body | null) => percent(Number(body!['proportion']));
  const subjects = (body: Body | null) => count(((body?.['subjects'] ?? body) as unknown[]).length, 'subject');
  switch (part ? `${kind}/${part}` : kind) {
    case 'features/rollout':
      if (!after) return `deleted the rollout of ${name}, ${variant(before)} for ${share(before)}`;
      if (!before) return `began the rollout of ${variant(after)} of ${name} at ${share(after)}`;
      if (before['variant'] === after['variant']) return `set the rollout of ${name} from ${share(before)} to ${share(after)}`;
      return `set the rollout of ${name} from ${variant(before)} for ${share(before)} to ${variant(after)} for ${share(after)}`;
    case 'features/default_variant':
      if (!after) return `removed the default ${variant(before)} of ${name}`;
      return `made ${variant(after)} the default of ${name}${before ? ` instead of ${variant(before)}` : ''}`;
    case 'features/variants':
      return `${!before ? 'added' : !after ? 'deleted' : 'changed the payload of'} variant ${label(other)} of ${name}`;
    case 'groups/overrides':
      return after ? `made group ${name} get ${variant(after)} of ${other}${before ? ` instead of ${variant(before)}` : ''}` : `removed the override of ${other} for group ${name}, ${variant(before)}`;
    case 'groups/subjects':
      if (other) return `${after ? 'added' : 'removed'} ${other} ${after ? 'to' : 'from'} group ${name}`;
      return after ? `added ${subjects(after)} to group ${name}` : `removed ${subjects(before)} from group ${name}`;
    case 'groups':
      if (before && after) return `set the priority of group ${name} from ${before['priority']} to ${after['priority']}`;
      return `${after ? 'created' : 'deleted'} group ${name}`;
    case 'subjects':
      if (e.action === 'import') return `imported subjects: ${Object.entries(after!).flatMap(([what, n]) => (n ? `${exact(Number(n))} ${what}` : [])).join(', ')}`;
      if (e.action === 'forget') return `made Flaggery forget a subject, now ${name}`;
      if (!name) return after ? `restored ${subjects(after)}` : `deleted ${subjects(before)}`;
      if (before && after) return `set the weight of ${name} from ${exact(Number(before['weight']))} to ${exact(Number(after['weight']))}`;
      return after ? `created subject ${name} of weight ${exact(Number(after['weight']))}` : `deleted subject ${name}`;
    case 'buckets':
      return `added buckets: ${exact(Number(after!['buckets']))} now, ${exact(Number(before!['buckets']))} before`;
    case 'tokens':
      if ((after ?? before)!['session']) return after ? 'signed in' : `ended the session of ${before!['name']}`;
      return `${after ? 'created' : 'revoked'} the token ${(after ?? before)!['name']} of role ${(after ?? before)!['role']}`;
    case 'abtests':
      if (!before) return `planned test ${name}`;
      if (!after) return `deleted test ${name}`;
      return `${e.action === 'stop' ? 'stopped' : 'changed'} test ${name}`;
    case 'features':
      if (!before) return `created feature ${name}`;
      if (!after) return `deleted feature ${name}`;
      return detailsOf(before, after, name);
    default:
      return `${e.action} ${e.resource}`; // of a later release
  }
}

/** detailsOf says what was changed of a feature itself, which may be named elsewhere: "made ops its contact, changed its tags". */
function detailsOf(before: Body, after: Body, name = ''): string {
  const feature = name ? `feature ${name}` : 'it';
  const its = (what: string) => (name ? `the ${what} of feature ${name}` : `its ${what}`);
  const others: string[] = [];
  const said = Object.keys(after).flatMap((field) => {
    const [from, to] = [before[field], after[field]];
    if (field === 'revision' || JSON.stringify(from) === JSON.stringify(to)) return [];
    const instead = (say: (old: string) => string) => (from ? ` instead of ${say(String(from))}` : '');
    switch (field) {
      case 'archived': return `${to ? 'archived' : 'restored'} ${feature}`;
      case 'off': return `switched ${feature} ${to ? 'off' : 'on'}`;
      case 'permanent': return `made ${feature} ${to ? 'permanent' : 'no longer permanent'}`;
      case 'contact': return to ? `made ${to} ${its('contact')}${instead(String)}` : `removed ${its('contact')}, ${from}`;
      case 'expires': return to ? `set ${feature} to expire on ${utcDate(String(to))}${instead(utcDate)}` : `removed ${its('expiry')}, ${utcDate(String(from))}`;
    }
    others.push(field);
    return [];
  });
  if (others.length > 0) said.push(`changed ${its(others.join(' and '))}`);
  return said.join(', ');
}

/** byRevision groups entries by their revision, the last first; what was done last is named first. */
export function byRevision(entries: Entry[], say: (e: Entry) => string): { revision: number; entry: Entry; rows: Entry[]; what: string }[] {
  const revisions = new Map<number, Entry[]>();
  for (const e of entries) revisions.set(e.revision, [...(revisions.get(e.revision) ?? []), e]);
  return [...revisions]
    .sort(([a], [b]) => b - a)
    .map(([revision, rows]) => {
      // A feature made or deleted as a whole is one thing.
      const whole = rows.find((e) => e.resource.split('/').length === 2 && (!e.before || !e.after));
      const main = whole ? [whole] : rows;
      return {
        revision,
        entry: rows[0]!,
        rows,
        what: main.slice(0, 2).map(say).join('; ') + (main.length > 2 ? `; ${count(main.length - 2, 'more change')}` : ''),
      };
    });
}
