// Server-sent events over fetch: the credential is a header, which EventSource cannot send.
import { type Query, request } from "./api";

export interface ServerEvent {
  event: string;
  data: unknown;
}

/** Events until `signal` aborts; reconnects, from the last id that it has. `state` says whether there is a connection. */
export async function listen(query: Query, onEvent: (event: ServerEvent) => void, signal: AbortSignal, state: (live: boolean) => void): Promise<void> {
  let lastId = "";
  let pause = 1000;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId) headers["Last-Event-ID"] = lastId;
      const response = await request({ method: "GET", path: "/events", query, headers }, signal);
      state(true);
      pause = 1000;
      for await (const block of blocks(response.body!)) {
        const found: Record<string, string> = {};
        for (const line of block.split("\n")) {
          const at = line.indexOf(":");
          if (at > 0) found[line.slice(0, at)] = line.slice(at + 1).trimStart();
        }
        if (found.id) lastId = found.id;
        if (found.event) onEvent({ event: found.event, data: found.data ? JSON.parse(found.data) : null });
      }
    } catch {
      if (signal.aborted) return;
    }
    state(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 15_000);
  }
}

async function* blocks(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop()!;
    yield* parts;
  }
}
