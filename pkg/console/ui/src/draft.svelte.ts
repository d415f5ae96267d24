// A draft is what is typed into a form, kept in the tab over a reload or another sign-in.
import { untrack } from 'svelte';

/** draft keeps a value under a name for as long as the tab lives, or until it is cleared. */
export function draft<T extends object>(name: () => string, empty: T): { value: T; clear: () => void } {
  const key = untrack(() => `draft: ${name()}`);
  const kept = sessionStorage.getItem(key);
  const form = $state({ value: { ...structuredClone(empty), ...(kept ? (JSON.parse(kept) as T) : {}) } });
  $effect(() => {
    const text = JSON.stringify(form.value);
    if (text === JSON.stringify(empty)) sessionStorage.removeItem(key);
    else keep(key, text);
  });
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

function keep(key: string, text: string) {
  try {
    sessionStorage.setItem(key, text);
  } catch {
    sessionStorage.removeItem(key); // it is too long, and an old draft would be wrong
  }
}
