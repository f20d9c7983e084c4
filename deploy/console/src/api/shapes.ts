// The shapes of answers, from the OpenAPI documents (make console generates them), and of routes whose answers the documents leave open.
import type { components as C } from "./commands";
import type { components as Q } from "./queries";

type Queries = Q["schemas"];

export type Letter = Queries["LetterView"];
export type LetterDetail = Queries["LetterAnswer"];
export type Job = Queries["JobView"];
export type AuditEntry = Queries["AuditEntry"];
export type FreshnessReport = Queries["FreshnessReport"];
export type Freshness = Queries["Freshness"];
export type Done = Queries["Done"];
export type Process = Queries["ProcessView"];
export type ProcessDetail = Queries["ProcessDetail"];
export type ProcessFigures = Queries["ProcessFigures"];
export type Revenue = Queries["Revenue"];
export type TopProducts = Queries["TopProducts"];
export type Segments = Queries["Segments"];
export type Scheduled = C["schemas"]["ScheduledView"];
export type StreamNow = C["schemas"]["StreamView"];

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface ReadOnly {
  on: boolean;
  since?: string | null;
  by?: string | null;
  reason?: string | null;
}

export interface Me {
  subject: string | null;
  behind?: string | null;
  anonymous: boolean;
  scopes: string[];
  role: string | null;
  expires_at: string | null;
  read_only: ReadOnly;
}

export interface Finding {
  kind: string;
  where: string;
  what: string;
  next: string;
  link: string;
}

export interface Status {
  at: string;
  verdict: string;
  state: "well" | "attention" | "broken" | "unknown";
  findings: Finding[];
  hints: string[];
  projections?: Freshness[];
  jobs?: Job[];
  processes?: ProcessFigures[];
}

export interface Group {
  origin: string;
  fingerprint: string;
  reason: string;
  exception: string;
  count: number;
  replaying: number;
  waiting: number;
  types: string[];
  first_failed_at: string;
  last_failed_at: string;
  example: number;
  history?: number[];
  owner?: string | null;
  note?: string | null;
  bug?: string | null;
  snoozed_until?: string | null;
}

export interface Generation {
  number: number;
  state: "building" | "ready";
  active: boolean;
  begun_at: string;
  ready_at: string | null;
  activated_at: string | null;
  scanned: number;
  total: number | null;
  rate: number | null;
  events_per_second: number | null;
  seconds_left: number | null;
  done: boolean;
  epoch: string | null;
  ahead: number;
  kinds: string[] | null;
}

export interface Projection {
  projection: string;
  store: string;
  kinds: string[];
  error: string | null;
  generations: Generation[];
}

export interface Check {
  id: string | number;
  kind: "verify" | "compare";
  state: "queued" | "running" | "finished" | "failed" | "cancelled";
  actor: string;
  reason: string;
  request: Record<string, unknown>;
  progress: string;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  result: Record<string, unknown> | null;
  error: string | null;
}

export interface Position {
  projection: string;
  generation: number | null;
  version: number | null;
  held: { reason: string; version: number; attempts?: number } | null;
  letter_id: number | null;
  error?: string | null;
}

export interface StreamEvent {
  version: number;
  id: string;
  type: string;
  time: string;
  data: unknown;
  actor?: string | null;
  command?: { id: string; source: string; type?: string | null; outcome?: unknown } | null;
}

export interface CommandType {
  type: string;
  context: string;
  scope: string;
  schema: JsonSchema;
}

export interface JsonSchema {
  type?: string | string[];
  title?: string;
  description?: string;
  format?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  enum?: unknown[];
  const?: unknown;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
  minimum?: number;
  maximum?: number;
  default?: unknown;
  additionalProperties?: boolean | JsonSchema;
}
