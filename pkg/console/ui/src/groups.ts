// Groups: their overrides of a feature, and which of them wins.
import { Problem, read, type Schema } from './api';
import { exact } from './format';

/** overridesOf are the steps of overrides, the group that wins first. */
export function overridesOf(shares: Schema['Shares'] | undefined): Schema['StepShare'][] {
  return (shares?.steps ?? []).filter((s) => s.step === 'override').reverse();
}

/** priorities reads those of groups. One that was deleted meanwhile has none. */
export async function priorities(names: Iterable<string>, signal: AbortSignal): Promise<Map<string, number>> {
  const groups = await Promise.all([...new Set(names)].map((group) => orMissing(read('/v1/groups/{group}', { path: { group } }, signal))));
  return new Map(groups.flatMap((g) => (g ? [[g.value.name, g.value.priority]] : [])));
}

/** orMissing is an answer, undefined if there is no such resource. */
export async function orMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return undefined;
    throw error;
  }
}

/** ranked names groups with their priorities: "vips (priority 20), staff (priority 10) and 2 more". */
export function ranked(names: string[], all: Map<string, number>, most = 3): string {
  const said = names.slice(0, most).map((name) => (all.has(name) ? `${name} (priority ${exact(all.get(name)!)})` : name));
  return said.join(', ') + (names.length > most ? ` and ${names.length - most} more` : '');
}
