// What a subject gets, in words.
import type { Schema } from './api';
import { exact, utc } from './format';
import { label } from './variants';

export type Decision = Schema['ExplainedDecision'];
export type Step = Schema['ExplainedStep'];

/** decisive is the step that decides, the last that applies. */
export function decisive(d: Decision): Step | undefined {
  return d.steps.findLast((s) => s.applies);
}

/** because ends the sentence "42 gets B of checkout because". */
export function because(d: Decision): string {
  const step = decisive(d);
  switch (step?.step) {
    case 'override': return `group ${step.group} overrides it`;
    case 'abtest': return `test ${step.test} has it in group ${step.test_group}`;
    case 'rollout': return `the rollout of ${label(step.variant ?? null)} has its bucket`;
    case 'default': return 'that is the default';
    case 'off': return 'the feature is switched off';
    case 'archived': return 'the feature is archived';
  }
  return 'it has no default, and nothing else applies';
}

/** notBecause lists what could have decided, and why it did not. What comes first in the order of the steps comes first. */
export function notBecause(d: Decision): string[] {
  const decides = decisive(d);
  return d.steps.toReversed().flatMap((s) => {
    if (s === decides) return [];
    if (!has(s)) return s.step === 'override' && s.detail?.startsWith('none') ? ['an override: none of its groups has one'] : [];
    return [`${named(s)}: ${s.applies ? 'overruled' : s.detail}`];
  });
}

/** has says whether the feature has a step of this kind at all. */
function has(s: Step): boolean {
  return s.group !== undefined || s.test !== undefined || s.variant !== undefined;
}

/** named says what a step is, and what it gives. */
export function named(s: Step): string {
  const gives = s.variant === undefined ? '' : ` (${label(s.variant)})`;
  switch (s.step) {
    case 'override': return s.group ? `the override for ${s.group}${gives}` : 'an override';
    case 'abtest': return s.test ? `test ${s.test}${s.test_group ? ` in group ${s.test_group}` : ''}${gives}` : 'a test';
    case 'rollout': return s.variant ? `the rollout of ${label(s.variant)}` : 'a rollout';
    case 'default': return s.variant ? `the default${gives}` : 'a default';
    case 'off': return 'the off switch';
    case 'archived': return 'the archive';
  }
}

/** ticket is one sentence that says who gets what, why and when. */
export function ticket(e: Schema['Explanation'], feature: string): string {
  const d = e.features[feature]!;
  return `${e.subject.id} gets ${label(d.variant)} of ${feature} because ${because(d)} (revision ${exact(e.configuration.revision)}, ${utc(new Date(e.at)).replace(/\.\d+/, '')}).`;
}

/** rank sorts what was decided for the subject itself before what holds for everybody. */
export function rank(d: Decision): number {
  const order = ['override', 'abtest', 'rollout', 'off', 'default'];
  const place = order.indexOf(d.reason ?? '');
  return place < 0 ? order.length : place;
}

/** flagsCommand asks an edge for a subject's flags. */
export function flagsCommand(edge: string, id: string): string {
  return `curl "${edge}/v1/subject/flags?subject_id=${encodeURIComponent(id).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)}"`;
}

/** ofrepCommand asks an edge the same by OFREP, for one feature if it is named. */
export function ofrepCommand(edge: string, id: string, feature = ''): string {
  const body = JSON.stringify({ context: { targetingKey: id } }).replaceAll("'", `'\\''`);
  return `curl "${edge}/ofrep/v1/evaluate/flags${feature ? `/${encodeURIComponent(feature)}` : ''}" -H "Content-Type: application/json" -d '${body}'`;
}
