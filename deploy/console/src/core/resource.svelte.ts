// What a page shows of the system: read at once, and again every so many milliseconds while the page is visible.
import { untrack } from "svelte";
import { Problem } from "./api";

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

/** `load` is called again when what it reads synchronously changes. Call while a component is initialised. */
export function poll<T>(load: (signal: AbortSignal) => Promise<T> | undefined, every = 0): Resource<T> {
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
      const promise = first ? load(controller.signal) : untrack(() => load(controller.signal));
      untrack(() => void settle(promise));
    };
    const settle = async (promise: Promise<T> | undefined) => {
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
        resource.problem = error instanceof Problem ? error : new Problem(0, "unexpected", String(error));
      }
      running = false;
      const slow = resource.problem && resource.problem.status >= 400 && resource.problem.status < 500;
      if (again) {
        again = false;
        run(false);
      } else if (every || resource.problem?.status === 0) timer = setTimeout(() => (document.hidden ? waitForSight() : run(false)), slow ? Math.max(every, 10_000) : Math.max(every, 1000));
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
