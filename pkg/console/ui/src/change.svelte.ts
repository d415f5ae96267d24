// Change is one write as a person makes it: tried while they choose, sent once, and then
// followed to the edges.
import { untrack } from 'svelte';
import { Problem, read, send, type Preview, type Schema, type Write } from './api';
import { live } from './live.svelte';

/** A rest of the hand, after which a change is tried. */
const rest = 120;

/** How long a write waits for the edges before it answers. */
const wait = '2s';

/** How long the admin works on a write at most; later, one that the audit lacks was not stored. */
const longest = 12_000;

export interface Receipt {
  revision: number;
  propagation: Schema['Propagation'] | undefined; // none if it was found in the audit
  etag: string; // of what was stored, '' if unknown
  at: Date;
}

/** Done takes what was stored, undefined if that is known from the audit alone. */
export type Done<T> = (value: T | undefined, receipt: Receipt) => void;

export class Change<T = unknown> {
  /** The answer of the last dry run, and the write that it is of. */
  preview = $state.raw<Preview<T>>();
  previewed = $state.raw<Write<T>>();
  /** Whether a newer dry run is on its way. */
  trying = $state(false);
  /** Whether what is wanted is tried without an answer yet: nobody saves what they cannot foresee. */
  unforeseen = $state(false);
  /** What was refused when it was tried. It is tried again before it is saved. */
  refused = $state.raw<Write<T>>();
  problem = $state.raw<Problem>();
  sending = $state(false);
  comment = $state('');
  receipt = $state.raw<Receipt>();
  /**
   * The write was sent and is not known to be stored: "refused" if the server said that it
   * cannot take it now, "unknown" if no answer came. The audit says what became of it as
   * soon as it can be read: a receipt, or "lost", and only then it may be sent again.
   */
  outcome = $state<'' | 'refused' | 'unknown' | 'lost'>('');

  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;
  #current = '';
  /** What was refused when it was saved, and the answer: it stays until something else is wanted. */
  #refusal: { write: Write<T>; problem: Problem } | undefined;
  #sent = $state.raw<{ write: Write<T>; id: string; done: Done<T> | undefined; settled: number }>();

  /** consider tries a write after a rest; undefined forgets the last one. An effect that calls it depends on the write alone. */
  consider(w: Write<T> | undefined) {
    clearTimeout(this.#timer);
    this.#running?.abort();
    const refusal = this.#refusal;
    if (!alike(w, refusal?.write) || (refusal?.problem.status === 412 && refusal.write.etag !== w?.etag)) this.#refusal = undefined;
    this.problem = this.#refusal?.problem;
    this.trying = this.unforeseen = w !== undefined;
    this.refused = undefined;
    if (!w) {
      this.preview = undefined;
      this.previewed = undefined;
      return;
    }
    this.#timer = setTimeout(() => void this.try(w), untrack(() => this.previewed) ? rest : 0);
  }

  /** try asks at once what a write would change. The last answer wins. */
  async try(w: Write<T>): Promise<void> {
    clearTimeout(this.#timer);
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    const revision = live.revision;
    this.trying = true;
    try {
      const answer = await send<Preview<T>>(w, { dry_run: true }, '', running.signal);
      if (running.signal.aborted) return;
      this.preview = answer.value;
      this.previewed = w;
      this.unforeseen = false;
      this.refused = undefined;
      this.problem = this.#refusal?.problem;
      live.answered(answer.revision);
    } catch (error) {
      if (running.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      if (error.status === 409 && live.revision > revision) return await this.try(w); // a change may have made way for it
      this.preview = undefined;
      this.unforeseen = error.passing || error.status === 401; // it is tried again by itself
      this.refused = this.unforeseen || error.status === 412 ? undefined : w;
      this.#failed(error);
      live.failed(error, () => {
        if (!running.signal.aborted) void this.try(w); // nothing else is wanted since
      });
    } finally {
      if (!running.signal.aborted) this.trying = false;
    }
  }

  /** reconsider tries again what was refused. */
  async reconsider(): Promise<void> {
    if (this.refused) await this.try(this.refused);
  }

  /**
   * send stores a write, and calls done with the stored resource. A write is never sent
   * twice unless the audit says that it was not stored.
   */
  async send(w: Write<T>, done?: Done<T>): Promise<void> {
    if (this.sending) return;
    this.#sent = { write: w, id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), done, settled: 0 };
    await this.#send();
  }

  /** Whether a write was lost, so that it may be sent again: one of another version or with another value was not. */
  lost(w: Write<T> | undefined): boolean {
    return this.outcome === 'lost' && w?.etag === this.#sent?.write.etag && alike(w, this.#sent?.write);
  }

  /** again sends the write that was lost, under the same id. */
  async again(): Promise<void> {
    if (this.outcome === 'lost') await this.#send();
  }

  async #send() {
    const { write: w, id, done } = this.#sent!;
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.trying = false; // or it would stay so if the write fails
    this.sending = true;
    this.problem = undefined;
    this.#refusal = undefined;
    this.outcome = '';
    try {
      const answer = await send<(T & { propagation?: Schema['Propagation'] }) | undefined>(w, { wait, comment: this.comment }, id);
      const receipt = this.#stored(answer.revision, answer.value?.propagation, answer.etag);
      done?.(answer.value, receipt);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#failed(error);
      if (error.status === 401 || error.passing) {
        // A problem with a code is an answer: nothing was stored.
        this.outcome = error.code ? 'refused' : 'unknown';
        this.#sent = { ...this.#sent!, settled: error.code ? 0 : Date.now() + longest };
        live.failed(error, () => void this.#look());
      } else if (error.status !== 409) {
        // Dry runs need fewer permissions, so they must not hide this. Whether a conflict
        // still stands in the way, they say themselves.
        this.#refusal = { write: w, problem: error };
      }
    } finally {
      this.sending = false;
    }
  }

  /** look finds out from the audit whether the write was stored. */
  async #look() {
    const { id, done, settled } = this.#sent!;
    try {
      const found = await read('/v1/audit', { query: { request_id: id, limit: 1 } });
      live.answered(found.revision);
      const entry = (found.value as Schema['PageAuditEntry']).items[0];
      this.problem = undefined;
      if (entry) {
        this.outcome = '';
        const receipt = this.#stored(entry.revision, undefined, '');
        done?.(undefined, receipt);
      } else if (Date.now() >= settled) {
        this.outcome = 'lost';
      } else {
        setTimeout(() => void this.#look(), 1000); // it may still be on its way
      }
    } catch (error) {
      live.failed(error, () => void this.#look());
    }
  }

  #failed(problem: Problem) {
    this.problem = problem;
    if (problem.status === 412 && problem.current !== this.#current) {
      this.#current = problem.current; // once, as what is read again may be tried again
      live.stale();
    }
    if (problem.status === 412) this.preview = undefined; // it is of another version
  }

  #stored(revision: number, propagation: Schema['Propagation'] | undefined, etag: string): Receipt {
    const receipt = { revision, propagation, etag, at: new Date() };
    this.receipt = receipt;
    this.preview = undefined;
    this.previewed = undefined;
    this.comment = '';
    this.outcome = '';
    live.own(revision);
    return receipt;
  }
}

/** alike reports whether two writes ask for the same, whatever the version. */
function alike(a: Write | undefined, b: Write | undefined): boolean {
  if (!a || !b || a.method !== b.method || a.url !== b.url) return false;
  return a.body === b.body || (!(a.body instanceof Blob) && JSON.stringify(a.body) === JSON.stringify(b.body));
}
