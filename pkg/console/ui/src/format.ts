// Numbers, weights and times as people read them.

const thin = '\u202f'; // between a number and its unit

/** DISABLE is the name of the reserved disabling variant. */
export const DISABLE = '__DISABLE__';

/**
 * percent shows a share from 0 to 1 with one decimal. 0 % and 100 % stand for exactly
 * none and exactly all.
 */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return '–';
  if (share === 0 || share === 1) return `${share * 100}${thin}%`;
  if (share < 0.001) return `<${thin}0.1${thin}%`;
  if (share > 0.999) return `>${thin}99.9${thin}%`;
  return `${(share * 100).toFixed(1)}${thin}%`;
}

/** ratio is part of a total as a share, 0 of nothing. */
export function ratio(part: number, total: number): number {
  return total > 0 ? part / total : 0;
}

const exactFormat = new Intl.NumberFormat('en');

/** exact shows a whole number with separators. */
export function exact(n: number): string {
  return exactFormat.format(n);
}

/** compact shows a number with three digits: 12.4 M. */
export function compact(n: number): string {
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]] as const) {
    if (Math.abs(n) >= size * 10 || (unit !== 'k' && Math.abs(n) >= size)) {
      const scaled = n / size;
      return `${scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)}${thin}${unit}`;
    }
  }
  return exact(n);
}

/** count shows a number of things: count(1, 'subject') is "1 subject". */
export function count(n: number, noun: string, plural = `${noun}s`): string {
  return `${exact(n)} ${n === 1 ? noun : plural}`;
}

/** seconds shows a duration given in seconds: 11 ms, 2.0 s. */
export function seconds(s: number): string {
  return s < 1 ? `${Math.round(s * 1000)}${thin}ms` : `${s < 10 ? s.toFixed(1) : Math.round(s)}${thin}s`;
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** span shows a length of time in its largest unit: 3 h, 12 d. */
export function span(milliseconds: number): string {
  const ms = Math.abs(milliseconds);
  if (ms < minute) return `${Math.floor(ms / 1000)} s`;
  if (ms < hour) return `${Math.floor(ms / minute)} min`;
  if (ms < 2 * day) return `${Math.floor(ms / hour)} h`;
  return `${Math.floor(ms / day)} d`;
}

const dateFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const yearFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit' });

/** moment shows a time in the browser's zone. */
export function moment(time: Date, now = new Date()): string {
  return (time.getFullYear() === now.getFullYear() ? dateFormat : yearFormat).format(time);
}

const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const utcDayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' });

/** date shows the day of a time, with a year that is not this one. */
export function date(time: Date, now = new Date()): string {
  return dayFormat.format(time) + (time.getFullYear() === now.getFullYear() ? '' : ` ${time.getFullYear()}`);
}

/** utcDate shows a date such as 2027-01-31, which is one in UTC. */
export function utcDate(day: string): string {
  return utcDayFormat.format(new Date(day));
}

/** ago shows a past time as "2 h ago" up to two days, later as a date. */
export function ago(time: Date, now = new Date()): string {
  const ms = now.getTime() - time.getTime();
  if (ms < 5000) return 'just now';
  return ms <= 2 * day ? `${span(ms)} ago` : moment(time, now);
}

/** utc shows a time exactly. */
export function utc(time: Date): string {
  return time.toISOString().replace('T', ' ').replace(/\.000Z$/, 'Z').replace('Z', ' UTC');
}

/** zone names the browser's time zone with its offset at a moment. */
export function zone(at = new Date()): string {
  const offset = -at.getTimezoneOffset();
  const hours = Math.floor(Math.abs(offset) / 60);
  const minutes = Math.abs(offset) % 60;
  const text = `UTC${offset < 0 ? '−' : '+'}${hours}${minutes ? `:${String(minutes).padStart(2, '0')}` : ''}`;
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name === 'UTC' ? name : `${name} (${text})`;
}

/** localInput is a time as the value of <input type="datetime-local">. */
export function localInput(time: Date): string {
  return new Date(time.getTime() - time.getTimezoneOffset() * minute).toISOString().slice(0, 16);
}
