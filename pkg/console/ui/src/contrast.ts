// Text that can be read on a colour that the installation chose.

/** readable makes the text of an element black or white, whichever contrasts more (WCAG 2.2, relative luminance). */
export function readable(element: HTMLElement) {
  const channels = getComputedStyle(element).backgroundColor.match(/[\d.]+/g)?.slice(0, 3).map(Number) ?? [];
  const [r, g, b] = channels.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * (r ?? 0) + 0.7152 * (g ?? 0) + 0.0722 * (b ?? 0);
  element.style.color = luminance > 0.179 ? '#000' : '#fff';
}
