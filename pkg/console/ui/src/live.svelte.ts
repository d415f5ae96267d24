// What every page knows: the caller, the installation, the edges, and the changes as they
// happen. The stream of events is held by the visible tab only, as browsers allow six
// connections to a host.
import { Problem, read, type Schema } from './api';

type Listener = (change: Schema['Change'] | null) => void;

class Live {
  me = $state.raw<Schema['Me']>();
  about = $state.raw<Schema['About']>();
  edges = $state.raw<Schema['Edge'][]>([]);
  revision = $state(0);
  /** Whether the session is over: writes wait for another sign-in. */
  signedOut = $state(false);
  /** Why reads fail at the moment, and when they are tried again. */
  outage = $state.raw<{ problem: Problem; next: Date }>();
  /** When the server answered last. */
  at = $state.raw(new Date());
  /** Whether the admin has another version than these pages. */
  updated = $state(false);
  /** Whether a part of these pages could not be loaded. */
  unloaded = $state(false);
  /** The time, to show how long ago something was. */
  now = $state.raw(new Date());

  #listeners = new Set<Listener>();
  #retries = new Set<() => void>();
  #attempts = 0;
  #stream: EventSource | undefined;
  #own = new Set<number>();

  start() {
    setInterval(() => (this.now = new Date()), 1000);
    document.addEventListener('visibilitychange', () => this.#follow());
    this.#follow();
    void this.refresh();
  }

  /** refresh reads the caller and the counts again. */
  async refresh() {
    try {
      const [me, about] = await Promise.all([read('/v1/me'), read('/v1/about')]);
      this.updated ||= this.about !== undefined && this.about.version !== about.value.version;
      this.me = me.value;
      this.about = about.value;
      this.signedOut = false;
      this.answered(about.revision);
    } catch (error) {
      this.failed(error, () => void this.refresh());
    }
  }

  /** on calls a listener with each change, and with null if all may have changed. */
  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  own(revision: number) {
    this.#own.add(revision);
    this.answered(revision);
    this.#publish({ revision, at: new Date().toISOString(), actor: this.me?.name ?? '', action: '', resource: '' });
  }

  /** stale reads everything again, after an answer that a version is not the current one. */
  stale() {
    this.#publish(null);
  }

  /** answered notes that the server answers. */
  answered(revision: number) {
    this.revision = Math.max(this.revision, revision);
    this.at = new Date();
    this.outage = undefined;
    this.#attempts = 0;
  }

  /** failed notes a failed read, and calls retry once the server may answer again. */
  failed(error: unknown, retry: () => void) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) {
      this.signedOut = true;
      this.#retries.add(retry);
      return;
    }
    if (!error.passing) return;
    this.#retries.add(retry);
    if (this.outage && this.outage.next > new Date()) return; // a try is due already
    const delay = Math.max(error.retryAfter * 1000, Math.min(1000 * 2 ** this.#attempts++, 15_000));
    this.outage = { problem: error, next: new Date(Date.now() + delay) };
    setTimeout(() => this.retry(), delay);
  }

  /** retry repeats the failed reads. */
  retry() {
    const retries = [...this.#retries];
    this.#retries.clear();
    for (const again of retries) again();
    if (this.#stream?.readyState === EventSource.CLOSED) this.#follow();
  }

  /** signedIn goes on after another sign-in. */
  signedIn() {
    this.signedOut = false;
    void this.refresh();
    this.retry();
    this.#follow();
  }

  #follow() {
    if (document.hidden) {
      this.#stream?.close();
      this.#stream = undefined;
      return;
    }
    if (this.#stream && this.#stream.readyState !== EventSource.CLOSED) return;
    let again = this.#stream !== undefined || this.revision > 0;
    const stream = new EventSource('/v1/events');
    this.#stream = stream;
    stream.onopen = () => {
      if (again) this.#publish(null); // changes were missed
      again = true; // the browser connects again by itself
    };
    stream.addEventListener('change', (event) => {
      const change = JSON.parse((event as MessageEvent<string>).data) as Schema['Change'];
      this.revision = Math.max(this.revision, change.revision);
      if (!this.#own.has(change.revision)) this.#publish(change);
    });
    stream.addEventListener('edges', (event) => {
      this.edges = (JSON.parse((event as MessageEvent<string>).data) as Schema['PageEdge']).items;
    });
    stream.addEventListener('reload', () => this.#publish(null));
    stream.onerror = () => {
      if (stream.readyState === EventSource.CLOSED) void this.refresh().then(() => setTimeout(() => this.#follow(), 5000));
    };
  }

  #publish(change: Schema['Change'] | null) {
    // Subjects, buckets and groups are counted; a change without a resource is the caller's own.
    if (!change || /^(subjects|buckets|groups|$)/.test(change.resource)) void this.refresh();
    for (const listener of this.#listeners) listener(change);
  }
}

export const live = new Live();
