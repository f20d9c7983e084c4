// Every request of the console goes through here, so that each has a curl twin, and a lost connection shows once.
import { connection } from "./connection.svelte";
import { expire, session } from "./session.svelte";

export type Query = Record<string, string | number | boolean | null | undefined | readonly string[]>;

export interface Call {
  method: "GET" | "POST" | "PATCH" | "DELETE";
  path: string;
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  service?: "queries" | "commands";
}

export interface Answer<T> {
  status: number;
  data: T;
  headers: Headers;
}

/** An answer that is not the requested one: RFC 9457 problem+json, or no answer at all (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly errors: readonly { field: string; message: string }[] = [],
    readonly scopes: readonly string[] = [],
  ) {
    super(detail);
  }
}

/** What was caught, as a Problem to show. */
export function problemFrom(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "unexpected", String(error));
}

export function url(call: Call): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value === null || value === undefined || value === "") continue;
    if (Array.isArray(value)) for (const each of value) query.append(name, each);
    else query.set(name, String(value));
  }
  const text = query.toString();
  return (call.service === "commands" ? session.commandsUrl : "") + call.path + (text ? `?${text}` : "");
}

function headers(call: Call): Record<string, string> {
  const own: Record<string, string> = { ...call.headers };
  if (call.body !== undefined) own["Content-Type"] = "application/json";
  if (session.key) own.Authorization = `Bearer ${session.key}`;
  else if (session.name && call.method !== "GET") own["Tidemark-Actor"] = encodeName(session.name);
  return own;
}

/** A header's value is bytes: UTF-8, as the services read it. */
function encodeName(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

export async function request(call: Call, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url(call), {
      method: call.method,
      headers: headers(call),
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      signal,
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    connection.lost();
    const service = call.service === "commands" ? "command service" : "query service";
    throw new Problem(0, "no-connection", `The ${service} does not answer.`);
  }
  if (call.service !== "commands") {
    connection.found();
    if (response.status === 401 && session.me) expire();
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  try {
    const found = JSON.parse(text);
    return new Problem(response.status, found.code ?? "unknown", found.detail ?? found.title ?? text, found.errors ?? [], found.scopes ?? []);
  } catch {
    return new Problem(response.status, "unknown", text.slice(0, 300) || `The answer has status ${response.status}.`);
  }
}

export async function send<T>(call: Call, signal?: AbortSignal): Promise<Answer<T>> {
  const response = await request(call, signal);
  const text = await response.text();
  return { status: response.status, data: (text ? parseJson(text) : undefined) as T, headers: response.headers };
}

export async function get<T>(path: string, query?: Query, signal?: AbortSignal, service: Call["service"] = "queries"): Promise<T> {
  const call: Call = { method: "GET", path, query, service };
  connection.note(call);
  return (await send<T>(call, signal)).data;
}

/** JSON with integers beyond 2^53 kept as text, so that no digit is lost. */
function parseJson(text: string): unknown {
  const reviver = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && context?.source && /^-?\d+$/.test(context.source) ? context.source : value;
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

/** The same request for a shell. The key is $TIDEMARK_KEY: it is never shown. */
export function curl(call: Call): string {
  const address = url(call);
  const parts = ["curl -s"];
  if (call.method !== "GET") parts.push(`-X ${call.method}`);
  parts.push(quoted(address.startsWith("/") ? location.origin + address : address));
  const shown = headers(call);
  if (shown.Authorization) parts.push(`-H "Authorization: Bearer $TIDEMARK_KEY"`);
  if (shown["Tidemark-Actor"]) parts.push(`-H ${quoted(`Tidemark-Actor: ${session.name}`)}`);
  for (const [name, value] of Object.entries(shown))
    if (name !== "Authorization" && name !== "Tidemark-Actor") parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (call.body !== undefined) parts.push(`-d ${quoted(JSON.stringify(call.body))}`);
  return parts.join(" \\\n  ");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
