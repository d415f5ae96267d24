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

/** insteadOf lists what could have decided and did not, what would have come first first. */
export function insteadOf(d: Decision): string[] {
  const decides = decisive(d);
  return d.steps.toReversed().flatMap((s) => {
    if (s === decides) return [];
    const what = named(s);
    if (!what) return s.step === 'override' && !s.applies && s.detail?.startsWith('none') ? ['no override: none of its groups has one'] : [];
    return [s.applies ? `${what} comes after that` : `not ${what}: ${s.detail}`];
  });
}

/** named says what a step is and gives, '' if the feature has none of its kind. */
export function named(s: Step): string {
  const gives = s.variant ? `, ${label(s.variant)}` : '';
  switch (s.step) {
    case 'override': return s.group ? `the override for ${s.group}${gives}` : '';
    case 'abtest': return s.test ? `test ${s.test}${s.test_group ? `, group ${s.test_group}` : ''}${gives}` : '';
    case 'rollout': return s.variant ? `the rollout of ${label(s.variant)}` : '';
    case 'default': return s.variant ? `the default${gives}` : '';
  }
  return '';
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
