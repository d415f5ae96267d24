// The page's address: pages are named by paths of the API, filters by the query.
import { tick } from 'svelte';

class Router {
  path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener('popstate', () => this.#follow());
    document.addEventListener('click', (event) => {
      const link = (event.target as Element | null)?.closest?.('a');
      if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      if (link.origin !== location.origin || link.target || link.hasAttribute('download') || !inConsole(link.pathname)) return;
      if (link.hash && link.pathname + link.search === location.pathname + location.search) return; // a place on this page
      event.preventDefault();
      this.go(link.pathname + link.search + link.hash);
    });
  }

  /** address is the page with its query. */
  get address(): string {
    return this.query.size ? `${this.path}?${this.query}` : this.path;
  }

  /**
   * time is a time of the query, '' for none, and what is wrong with it. A date alone is its
   * beginning in UTC.
   */
  time(name: string): { at: string; fault: string } {
    const text = this.query.get(name) ?? '';
    const time = new Date(/^\d{4}-\d\d-\d\d(T|$)/.test(text) ? text : NaN);
    if (!text) return { at: '', fault: '' };
    if (isNaN(time.getTime())) return { at: '', fault: `The address has “${text}” here, which is no time such as 2027-01-31T09:00:00Z or 2027-01-31.` };
    return { at: /\.\d{4}/.test(text) ? text : time.toISOString(), fault: '' }; // Date has milliseconds only
  }

  /** go opens an address of the console. The focus goes to the new page: what had it may be gone. */
  go(address: string) {
    const before = this.path;
    history.pushState(null, '', address);
    this.#follow();
    scrollTo(0, 0);
    if (this.path !== before) void tick().then(() => document.getElementById('content')?.focus({ preventScroll: true }));
  }

  /** replace opens an address instead of the one before, which Back skips. */
  replace(address: string) {
    history.replaceState(null, '', address);
    this.#follow();
  }

  /** set changes parts of the query in place, '' removes one. */
  set(changes: Record<string, string>) {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    this.query = query;
    history.replaceState(null, '', this.address);
  }

  #follow() {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }
}

/** pageNames are the first parts of the console's paths, as in console.go. */
export const pageNames = ['features', 'tests', 'groups', 'subjects', 'buckets', 'edges', 'audit', 'tokens', 'start'];

/** titled is the name of a page as a title. */
export function titled(page: string): string {
  return page[0]!.toUpperCase() + page.slice(1);
}

function inConsole(path: string): boolean {
  return path === '/' || pageNames.includes(path.split('/')[1] ?? '');
}

export const router = new Router();

/** href is the address of a page: href('features', name) is /features/<name>. */
export function href(page: string, name = '', query: Record<string, string> = {}): string {
  const search = new URLSearchParams(query);
  return `/${page}${name ? `/${encodeURIComponent(name)}` : ''}${search.size ? `?${search}` : ''}`;
}
