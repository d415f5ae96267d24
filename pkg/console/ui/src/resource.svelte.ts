// Resource keeps an answer of the API on a page: it reads again when what the page asks
// for changes, and when a change is streamed. Old data stay while new ones load.
import { untrack } from 'svelte';
import { Problem, type Answer, type Schema } from './api';
import { live } from './live.svelte';

export class Resource<T> {
  value = $state.raw<T>();
  etag = $state('');
  /** Why the last read failed for good; failures that pass are live.outage. */
  problem = $state.raw<Problem>();
  loading = $state(true);
  /** Somebody else's change that was read last. */
  changed = $state.raw<Schema['Change']>();

  #load: (signal: AbortSignal) => Promise<Answer<T>>;
  #running: AbortController | undefined;

  constructor(load: (signal: AbortSignal) => Promise<Answer<T>>) {
    this.#load = load;
  }

  /** reload reads again; the promise ends with the read. */
  async reload(change?: Schema['Change']): Promise<void> {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.loading = true;
    try {
      const answer = await this.#load(running.signal);
      if (running.signal.aborted) return;
      this.value = answer.value;
      this.etag = answer.etag;
      this.problem = undefined;
      if (change && change.actor !== live.me?.name) this.changed = change;
      live.answered(answer.revision);
    } catch (error) {
      if (running.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      if (!error.passing && error.status !== 401) {
        this.value = undefined;
        this.problem = error;
      }
      live.failed(error, () => void this.reload(change));
    } finally {
      if (!running.signal.aborted) this.loading = false;
    }
  }

  abort() {
    this.#running?.abort();
  }
}

/**
 * resource reads with load for as long as the component lives: at once, whenever the state
 * that load uses changes, and after changes that concern it. Without concerns, those are
 * all; a change without a resource is the caller's own.
 */
export function resource<T>(load: (signal: AbortSignal) => Promise<Answer<T>>, concerns: (change: Schema['Change']) => boolean = () => true): Resource<T> {
  const r = new Resource(load);
  $effect(() => {
    void r.reload();
    return () => r.abort();
  });
  $effect(() =>
    live.on((change) => {
      if (change === null || change.resource === '' || untrack(() => concerns(change))) void r.reload(change?.resource ? change : undefined);
    }),
  );
  return r;
}
