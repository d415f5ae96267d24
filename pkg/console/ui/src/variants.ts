// How variants are named and coloured: in the order of their names, so that a variant has
// one colour on all pages.
import { DISABLE } from './format';

/** label is what people read: off for the disabling variant, quotes for one that is named so. */
export function label(variant: string | null): string {
  if (variant === null) return 'nothing';
  if (variant === DISABLE) return 'off';
  return variant === 'off' || variant === 'nothing' ? `"${variant}"` : variant;
}

/** colour is the colour of a variant among all variants of its feature, as a CSS variable's name. */
export function colour(variant: string | null, all: string[]): string {
  if (variant === null || variant === DISABLE) return 'off';
  const named = all.filter((v) => v !== DISABLE);
  return String((Math.max(named.indexOf(variant), 0) % 4) + 1);
}
