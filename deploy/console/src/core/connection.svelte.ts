// Whether the query service answers, and what the page has asked it.
import { untrack } from "svelte";
import type { Call } from "./api";

class Connection {
  /** Since when there was no answer; 0: there is one. */
  lostSince = $state(0);
  lastAnswer = $state(Date.now());
  /** The reads of the page that is shown, for their curl twins. */
  calls = $state.raw<Call[]>([]);

  lost(): void {
    if (!this.lostSince) this.lostSince = Date.now();
  }

  found(): void {
    this.lostSince = 0;
    this.lastAnswer = Date.now();
  }

  note(call: Call): void {
    untrack(() => this.keep(call));
  }

  private keep(call: Call): void {
    const id = JSON.stringify([call.path, call.query]);
    if (!this.calls.some((each) => JSON.stringify([each.path, each.query]) === id)) this.calls = [...this.calls.slice(-11), call];
  }
}

export const connection = new Connection();
