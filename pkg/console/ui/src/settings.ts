// Settings of the installation that come with the page.

function setting(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="flaggery-${name}"]`)?.content ?? '';
}

/** Writes that affect more than this share of the weight need a reason. */
export const reasonAbove = Number(setting('reason-above') || 0.25);

/** The path of the page's own files. */
export const assets = setting('assets') || '/assets/';
