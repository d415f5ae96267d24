/**
 * menu closes a disclosure that is a menu as menus close: with Escape, with a click or the
 * focus elsewhere, and once one of its links was followed.
 */
export function menu(details: HTMLDetailsElement) {
  const close = () => (details.open = false);
  const elsewhere = ({ target }: Event) => {
    if (!details.contains(target as Node)) close();
  };
  const key = (event: KeyboardEvent) => {
    if (event.key !== 'Escape' || !details.open) return;
    close();
    details.querySelector('summary')?.focus();
  };
  const followed = ({ target }: Event) => {
    if ((target as Element).closest('a')) close();
  };
  document.addEventListener('pointerdown', elsewhere);
  document.addEventListener('focusin', elsewhere);
  details.addEventListener('keydown', key);
  details.addEventListener('click', followed);
  return () => {
    document.removeEventListener('pointerdown', elsewhere);
    document.removeEventListener('focusin', elsewhere);
    details.removeEventListener('keydown', key);
    details.removeEventListener('click', followed);
  };
}
