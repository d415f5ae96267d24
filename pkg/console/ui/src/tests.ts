// A/B tests: their periods, their conflicts, and how people read them.
import type { Schema } from './api';
import { span } from './format';

export type Test = Schema['ABTest'];
export type State = Test['state'];

export interface Period {
  start: Date;
  end: Date;
}

/** A test as it is planned, before it is saved. */
export interface Planned extends Period {
  name: string;
  features: string[];
}

export const states: [State, string][] = [['live', 'live'], ['scheduled', 'planned'], ['ended', 'ended']];

/** stateAt is the state of a test at a moment: it starts and ends by itself. */
export function stateAt(test: Pick<Test, 'start' | 'end'>, now: Date): State {
  if (now < new Date(test.start)) return 'scheduled';
  return now < new Date(test.end) ? 'live' : 'ended';
}

export function stateName(state: State): string {
  return states.find(([s]) => s === state)![1];
}

/** stateText is the state with the time until it changes. */
export function stateText(test: Pick<Test, 'start' | 'end'>, now: Date): string {
  const until = (time: string) => span(new Date(time).getTime() - now.getTime());
  switch (stateAt(test, now)) {
    case 'scheduled': return `planned, in ${until(test.start)}`;
    case 'live': return `live, ${until(test.end)} left`;
    case 'ended': return 'ended';
  }
}

/** featuresOf lists the features of a test, which all its groups have. */
export function featuresOf(test: Test): string[] {
  return Object.keys(test.groups[0]?.variants ?? {}).sort();
}

/** conflictsOf finds the tests that share a moment and a feature with a planned one. */
export function conflictsOf(planned: Planned, tests: Test[]): Schema['Conflict'][] {
  return tests
    .filter((t) => t.name !== planned.name && new Date(t.start) < planned.end && planned.start < new Date(t.end))
    .map((t) => ({ test: t.name, features: featuresOf(t).filter((f) => planned.features.includes(f)), start: t.start, end: t.end }))
    .filter((c) => c.features.length > 0);
}

/** shared is the time that two periods have in common. */
export function shared(a: Period, b: Pick<Test, 'start' | 'end'>): Period {
  return {
    start: new Date(Math.max(a.start.getTime(), new Date(b.start).getTime())),
    end: new Date(Math.min(a.end.getTime(), new Date(b.end).getTime())),
  };
}

/** days shows a period as "1 to 4 December", by hours within a day, with a year that is not this one. */
export function days({ start, end }: Period): string {
  const format = new Intl.DateTimeFormat('en-GB', {
    day: 'numeric',
    month: 'long',
    ...(end.getFullYear() !== new Date().getFullYear() && { year: 'numeric' }),
    ...(start.toDateString() === end.toDateString() && { hour: '2-digit', minute: '2-digit' }),
  });
  return format.formatRange(start, end).replace(/\s*–\s*/, ' to ');
}

/** addDays is midnight, some days later in the browser's zone. */
export function addDays(time: Date, n: number): Date {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate() + n);
}

/** dateInput is the day of a time, in the browser's zone, as in ?from=2026-12-01. */
export function dateInput(time: Date): string {
  return [time.getFullYear(), time.getMonth() + 1, time.getDate()].map((n) => String(n).padStart(2, '0')).join('-');
}

/** A moment at which the clocks of the browser's zone change, by minutes. */
export interface ClockChange {
  at: Date;
  by: number;
}

/** clockChanges finds the first changes of the clocks in a period. */
export function clockChanges({ start, end }: Period, most = 3): ClockChange[] {
  const found: ClockChange[] = [];
  const offset = (time: number) => new Date(time).getTimezoneOffset();
  const day = 86_400_000;
  const last = Math.min(end.getTime(), start.getTime() + 800 * day);
  for (let from = start.getTime(); from < last && found.length < most; from += day) {
    let [low, high] = [from, Math.min(from + day, last)];
    const by = offset(low) - offset(high);
    if (by === 0) continue;
    while (high - low > 60_000) {
      const middle = (low + high) / 2;
      if (offset(middle) === offset(high)) high = middle;
      else low = middle;
    }
    found.push({ at: new Date(Math.floor(high / 60_000) * 60_000), by });
  }
  return found;
}
