// Edited is a value of a resource in the hands of a person. It follows the resource until
// they change it; then it stays, and so does the version that it is based on, once somebody
// else has changed the same. Their changes elsewhere in the resource are no conflict.
import { untrack } from 'svelte';
import { keep, kept, same } from './draft.svelte';

export class Edited<T> {
  value = $state() as T;
  base = $state.raw() as T;
  etag = $state('');
  #server: () => { value: T; etag: string };
  #sent: T | undefined;

  /** What is typed is kept as a draft if it has a name. */
  constructor(server: () => { value: T; etag: string }, draft?: () => string) {
    this.#server = server;
    this.take();
    if (draft) {
      const name = untrack(draft);
      Object.assign(this, kept(name));
      $effect(() => keep(name, this.dirty ? { value: this.value, base: this.base, etag: this.etag } : undefined));
    }
    $effect(() => {
      const { value, etag } = server();
      untrack(() => {
        if (!this.dirty || same(value, this.value)) this.value = value;
        else if (!same(value, this.base)) return;
        this.base = value;
        this.etag = etag;
      });
    });
  }

  get dirty(): boolean {
    return !same(this.value, this.base);
  }

  /** sent notes the value that is on its way. */
  sent() {
    this.#sent = $state.snapshot(this.value) as T;
  }

  /** saved notes that it was stored. What was typed since stays; the version may come later. */
  saved() {
    this.base = this.#sent as T;
    const { value, etag } = untrack(this.#server);
    if (same(value, this.base)) this.etag = etag;
  }

  /** take goes on from what the server has. */
  take() {
    const { value, etag } = untrack(this.#server);
    this.value = value;
    this.base = value;
    this.etag = etag;
  }

  /** keep goes on from what the server has, with what was typed. */
  keep() {
    const { value, etag } = untrack(this.#server);
    this.base = value;
    this.etag = etag;
  }
}
