// What features are and do, in words.
import { read, type Answer, type Schema } from './api';
import { date, DISABLE, percent, ratio, span, utcDate } from './format';
import { overridesOf } from './groups';
import { label } from './variants';

export type State = Schema['FeatureSummary']['state'];

/** The states by which the list can be filtered, as people read them. */
export const states: [State, string][] = [
  ['default', 'default only'],
  ['rolling', 'rolling out'],
  ['testing', 'in test'],
  ['everyone', 'everyone'],
  ['off', 'off'],
  ['archived', 'archived'],
];

/** stateOf is the state of a feature, given its live test. */
export function stateOf(f: Schema['Feature'], test: unknown): State {
  if (f.archived) return 'archived';
  if (f.off) return 'off';
  if (test) return 'testing';
  const proportion = f.rollout?.proportion ?? 0;
  return proportion === 1 ? 'everyone' : proportion > 0 ? 'rolling' : 'default';
}

/** stateText is a state with what can be said in three words. */
export function stateText(state: State, proportion: number | undefined, end: string | undefined, now: Date): string {
  const text = states.find(([s]) => s === state)![1];
  if (state === 'rolling' && proportion !== undefined) return `${text} ${percent(proportion)}`;
  if (state === 'testing' && end) return `${text}, ${span(new Date(end).getTime() - now.getTime())} left`;
  return text;
}

export type Stage = Schema['FeatureSummary']['stage'];

/** The stages by which the list can be filtered, on the way to the removal of a feature. */
export const stages: Stage[] = ['new', 'rolling', 'testing', 'settled', 'off', 'expired', 'archived'];

type Lifecycle = Pick<Schema['FeatureSummary'], 'stage' | 'settled_on' | 'expires'>;

/** stageText is a stage with what can be said in three words. */
export function stageText(f: Lifecycle, now: Date): string {
  if (f.stage === 'settled' && f.settled_on) return `settled since ${date(new Date(f.settled_on), now)}`;
  if (f.stage === 'expired' && f.expires) return `expired since ${utcDate(f.expires)}`;
  return f.stage;
}

/** summaryOf reads the summary of a feature: it is the first one after a text just before its name. */
export async function summaryOf(feature: string, signal: AbortSignal): Promise<Answer<Schema['FeatureSummary'] | undefined>> {
  const before = feature.slice(0, -1) + String.fromCharCode(feature.charCodeAt(feature.length - 1) - 1) + '~'; // names have no ~
  const found = await read('/v1/features', { query: { view: 'summary', query: feature, after: before, limit: 1 } }, signal);
  return { ...found, value: (found.value as Schema['PageFeatureSummary']).items.find((f) => f.name === feature) };
}

/** sumBy adds up what each variant gets, in the order of the steps. */
export function sumBy(steps: Schema['StepShare'][], by: 'weight' | 'subjects'): { variant: string | null; amount: number }[] {
  const sums = new Map<string | null, number>();
  for (const s of steps) sums.set(s.variant, (sums.get(s.variant) ?? 0) + s[by]);
  return [...sums].map(([variant, amount]) => ({ variant, amount }));
}

/** sentence says who gets what and why, to be pasted into a ticket. */
export function sentence(f: Schema['Feature'], shares: Schema['Shares'], test: Schema['ABTest'] | undefined, address: string): string {
  const gets = sumBy(shares.steps, 'weight')
    .filter((s) => s.amount > 0)
    .sort((a, b) => b.amount - a.amount)
    .map((s) => `${percent(ratio(s.amount, shares.total_weight))} of the weight gets ${label(s.variant)}`);
  const why: string[] = [];
  if (f.archived) why.push('it is archived');
  else if (f.off) why.push('it is switched off');
  else {
    for (const s of overridesOf(shares)) why.push(`group ${s.group} gets ${label(s.variant)}`);
    if (test) why.push(`test ${test.name} runs until ${test.end}`);
    if (f.rollout) why.push(`${label(f.rollout.variant)} is rolled out to ${percent(f.rollout.proportion)}`);
    why.push(f.default_variant === null ? 'there is no default' : `the default is ${label(f.default_variant)}`);
  }
  const who = gets.length ? gets.join(', ') : 'there are no subjects';
  return `${f.name}: ${who}; ${why.join(', ')} (revision ${shares.revision}). ${address}`.replaceAll('\u202f', ' ');
}

/** curl asks an edge for the feature of a subject. */
export function curl(feature: string, edgeURL: string, subject: string): string {
  return `curl "${edgeURL || '$EDGE'}/v1/subject/flags?subject_id=${encodeURIComponent(subject)}&features=${encodeURIComponent(feature)}"`;
}

/** offLast sorts variants by name as the API does, with off at the end. */
export function offLast(variants: Schema['Variant'][]): Schema['Variant'][] {
  return [...variants].sort((a, b) => Number(a.name === DISABLE) - Number(b.name === DISABLE));
}

/** tagsOf are the tags in a text with commas. */
export function tagsOf(text: string): string[] {
  return text.split(',').map((t) => t.trim()).filter(Boolean);
}
