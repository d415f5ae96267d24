// A draft is what is typed into a form, kept in the tab over a reload or another sign-in.
import { untrack } from 'svelte';

interface Draft<T> {
  value: T;
  /** What is on its way, or was stored. */
  last: T;
  /** sent notes what is on its way. */
  sent(): void;
  /** saved clears what was sent; what was typed since stays. */
  saved(): void;
  clear(): void;
}

/** draft keeps a value under a name for as long as the tab lives, or until it is cleared. */
export function draft<T extends object>(name: () => string, empty: T): Draft<T> {
  const key = untrack(name);
  const form = $state({ value: { ...structuredClone(empty), ...kept<T>(key) } });
  $effect(() => keep(key, same(form.value, empty) ? undefined : form.value));
  return {
    get value() {
      return form.value;
    },
    set value(value: T) {
      form.value = value;
    },
    last: empty,
    sent() {
      this.last = $state.snapshot(form.value) as T;
    },
    saved() {
      if (same(form.value, this.last)) this.clear();
    },
    clear() {
      form.value = structuredClone(empty);
    },
  };
}

/** kept is the draft with a name, undefined if there is none. */
export function kept<T>(name: string): T | undefined {
  const text = sessionStorage.getItem(`draft: ${name}`);
  return text === null ? undefined : (JSON.parse(text) as T);
}

/** keep keeps a draft, or removes it. */
export function keep(name: string, draft: unknown) {
  const key = `draft: ${name}`;
  sessionStorage.removeItem(key); // an old draft would be wrong if the new one is too long
  try {
    if (draft !== undefined) sessionStorage.setItem(key, JSON.stringify(draft));
  } catch {
    // It is too long.
  }
}

/** same reports whether two values have the same JSON. */
export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
