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
  at: Date;
}

export class Change<T = unknown> {
  /** The answer of the last dry run, and the write that it is of. */
  preview = $state.raw<Preview<T>>();
  previewed = $state.raw<Write<T>>();
  /** Whether a newer dry run is on its way. */
  trying = $state(false);
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
  #sent: { write: Write<T>; id: string; done: ((value: T | undefined) => void) | undefined; settled: number } | undefined;

  /** consider tries a write after a rest; undefined forgets the last one. An effect that calls it depends on the write alone. */
  consider(w: Write<T> | undefined) {
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.problem = undefined;
    this.trying = w !== undefined;
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
    this.trying = true;
    try {
      const answer = await send<Preview<T>>(w, { dry_run: true }, '', running.signal);
      if (running.signal.aborted) return;
      this.preview = answer.value;
      this.previewed = w;
      this.problem = undefined;
      live.answered(answer.revision);
    } catch (error) {
      if (running.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.preview = undefined;
      this.#failed(error);
      live.failed(error, () => void this.try(w));
    } finally {
      if (!running.signal.aborted) this.trying = false;
    }
  }

  /**
   * send stores a write, and calls done with the stored resource. A write is never sent
   * twice unless the audit says that it was not stored.
   */
  async send(w: Write<T>, done?: (value: T | undefined) => void): Promise<void> {
    if (this.sending) return;
    this.#sent = { write: w, id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), done, settled: 0 };
    await this.#send();
  }

  /** again sends the write that was lost, under the same id. */
  async again(): Promise<void> {
    if (this.outcome === 'lost') await this.#send();
  }

  async #send() {
    const { write: w, id, done } = this.#sent!;
    this.#running?.abort();
    this.sending = true;
    this.problem = undefined;
    this.outcome = '';
    try {
      const answer = await send<(T & { propagation?: Schema['Propagation'] }) | undefined>(w, { wait, comment: this.comment }, id);
      this.#stored(answer.revision, answer.value?.propagation);
      done?.(answer.value);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#failed(error);
      if (error.status === 401 || error.passing) {
        // A problem with a code is an answer: nothing was stored.
        this.outcome = error.code ? 'refused' : 'unknown';
        this.#sent = { ...this.#sent!, settled: error.code ? 0 : Date.now() + longest };
        live.failed(error, () => void this.#look());
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
        this.#stored(entry.revision, undefined);
        done?.(undefined);
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
  }

  #stored(revision: number, propagation: Schema['Propagation'] | undefined) {
    this.receipt = { revision, propagation, at: new Date() };
    this.preview = undefined;
    this.previewed = undefined;
    this.comment = '';
    this.outcome = '';
    live.own(revision);
  }
}
