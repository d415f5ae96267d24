// A draft is what is typed into a form, kept in the tab over a reload or another sign-in.
import { untrack } from 'svelte';

/** draft keeps a value under a name for as long as the tab lives, or until it is cleared. */
export function draft<T extends object>(name: () => string, empty: T): { value: T; clear: () => void } {
  const key = untrack(name);
  const form = $state({ value: { ...structuredClone(empty), ...kept<T>(key) } });
  $effect(() => keep(key, JSON.stringify(form.value) === JSON.stringify(empty) ? undefined : form.value));
  return {
    get value() {
      return form.value;
    },
    set value(value: T) {
      form.value = value;
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
