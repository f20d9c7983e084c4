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

export type Me = Queries["Me"];
export type Status = Queries["StatusView"];
export type Finding = Queries["FindingView"];
export type Projection = Queries["ProjectionView"];
export type Generation = Queries["GenerationView"];
export type Check = Queries["CheckView"];
export type CheckDetail = Queries["CheckDetail"];
export type Position = Queries["StreamPositionView"];

export type Group = Queries["GroupAnswer"];
export type JobLetter = Queries["JobLetterView"];
export type CommandType = Queries["CommandTypeView"];
export type StreamEvents = C["schemas"]["StreamEvents"];

export interface CommandTypeDetail extends CommandType {
  data_schema: JsonSchema;
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
