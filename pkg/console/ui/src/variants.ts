// How variants are named and coloured: by their places among all variants of the feature,
// sorted by name, so that a variant has one colour on all pages. The API does not say in
// which order they were made.
import { DISABLE } from './format';

/** label is what people read: off for the disabling variant, quotes for one that is named so. */
export function label(variant: string | null): string {
  if (variant === null) return 'nothing';
  if (variant === DISABLE) return 'off';
  return variant === 'off' || variant === 'nothing' ? `"${variant}"` : variant;
}

/** colour is the colour of a variant among all variants of its feature, as a CSS variable's name. One that is not there, or no longer, is grey. */
export function colour(variant: string | null, all: string[]): string {
  const place = all.filter((v) => v !== DISABLE).indexOf(variant ?? DISABLE);
  return place < 0 ? 'off' : String((place % 4) + 1);
}
