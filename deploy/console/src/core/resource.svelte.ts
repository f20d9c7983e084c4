// What a page shows of the system: read at once, and again every so many milliseconds while the page is visible and no dialog is open:
// nothing changes under who is deciding.
import { untrack } from "svelte";
import { type Problem, problemFrom } from "./api";

/** How often a page asks for what changes by itself: a change is on the screen within a second of being visible. */
export const LIVE = 750;
/** An answer that takes long is asked for less often: the page keeps the service busy for a fifth of the time at most. */
const PAUSE_PER_ANSWER = 4;

export class Resource<T> {
  data = $state.raw<T>();
  problem = $state.raw<Problem>();
  /** When the data was read; 0: not yet. */
  readAt = $state(0);
  /** There is nothing to ask, or no right to: a page says why itself. */
  idle = $state(false);
  /** Since when the first answer is waited for. */
  waitingSince = $state(Date.now());
  refresh: () => void = () => {};
}

/** `load` is called again when what it reads synchronously changes. Call while a component is initialised. `every`: 0: only then; a function, where
    that depends on what the page shows. */
export function poll<T>(load: (signal: AbortSignal) => Promise<T> | undefined, every: number | (() => number) = 0): Resource<T> {
  const resource = new Resource<T>();
  $effect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let again = false;
    let running = false;
    const run = (first: boolean) => {
      clearTimeout(timer);
      if (running) {
        again = true;
        return;
      }
      running = true;
      const begun = performance.now();
      const promise = first ? load(controller.signal) : untrack(() => load(controller.signal));
      untrack(() => void settle(promise, begun));
    };
    const settle = async (promise: Promise<T> | undefined, begun: number) => {
      resource.idle = promise === undefined;
      if (!resource.readAt) resource.waitingSince = Date.now();
      try {
        const data = await promise;
        if (controller.signal.aborted) return;
        resource.data = data;
        resource.problem = undefined;
        resource.readAt = Date.now();
      } catch (error) {
        if (controller.signal.aborted) return;
        resource.problem = problemFrom(error);
      }
      running = false;
      const lost = resource.problem?.status === 0;
      const refused = resource.problem !== undefined && resource.problem.status >= 400 && resource.problem.status < 500;
      if (again) {
        again = false;
        run(false);
        return;
      }
      const usual = typeof every === "number" ? every : untrack(every);
      if (usual || lost) {
        const pause = Math.max(usual, PAUSE_PER_ANSWER * (performance.now() - begun), lost ? 1000 : 0, refused ? 10_000 : 0);
        const next = () => {
          if (document.hidden) waitForSight();
          else if (!lost && document.querySelector("dialog[open]")) timer = setTimeout(next, pause);
          else run(false);
        };
        timer = setTimeout(next, pause);
      }
    };
    const waitForSight = () => document.addEventListener("visibilitychange", () => run(false), { once: true, signal: controller.signal });
    resource.refresh = () => run(false);
    run(true);
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  });
  return resource;
}
