// Addresses below /console: every view has one, and the back button works.
import { connection } from "./connection.svelte";

const BASE = "/console";

class Route {
  private place = $state.raw(here());

  /** Decoded segments: /console/streams/orders/o-1 is ["streams", "orders", "o-1"]. */
  get segments(): string[] {
    return this.place.segments;
  }

  get path(): string {
    return this.place.path;
  }

  get query(): URLSearchParams {
    return this.place.query;
  }

  param(name: string): string {
    return this.place.query.get(name) ?? "";
  }

  go(address: string, replace = false): void {
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this.read();
    if (!replace) scrollTo(0, 0);
  }

  /** Change parameters of this address; empty ones are removed. */
  set(changes: Record<string, string>): void {
    const query = new URLSearchParams(this.place.query);
    for (const [name, value] of Object.entries(changes)) if (value) query.set(name, value); else query.delete(name);
    const text = query.toString();
    this.go(location.pathname + (text ? `?${text}` : ""), true);
  }

  read(): void {
    const before = this.place.path;
    this.place = here();
    if (this.place.path !== before) connection.calls = [];
  }
}

function here() {
  const path = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) : "/";
  const segments = path.split("/").filter(Boolean).map(decoded);
  return { path, segments, query: new URLSearchParams(location.search) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = new Route();

/** The address of a view: to(["streams", "orders", id], {at}). */
export function to(segments: readonly (string | number)[], query: Record<string, string | number | null | undefined> = {}): string {
  const text = new URLSearchParams(Object.entries(query).flatMap(([name, value]) => (value === null || value === undefined || value === "" ? [] : [[name, String(value)]]))).toString();
  return [BASE, ...segments.map((each) => encodeURIComponent(each))].join("/") + (segments.length ? "" : "/") + (text ? `?${text}` : "");
}

/** The address of a stream, whose name is <kind>/<id>. */
export function toStream(stream: string): string {
  const at = stream.indexOf("/");
  return to(["streams", stream.slice(0, at), stream.slice(at + 1)]);
}

addEventListener("popstate", () => route.read());
addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest?.("a[href]") as HTMLAnchorElement | null;
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || !link.pathname.startsWith(BASE)) return;
  event.preventDefault();
  route.go(link.pathname + link.search + link.hash);
});
