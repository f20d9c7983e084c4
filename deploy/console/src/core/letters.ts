// Which letters a view is about: the criteria of GET /dead-letters and of a replay are the same.
import type { Query } from "./api";
import { number } from "./format";

export const CRITERIA = ["origin", "fingerprint", "stream", "type", "failed_from", "failed_to", "text"] as const;

export function criteria(query: URLSearchParams): Record<string, string> {
  return Object.fromEntries(CRITERIA.flatMap((name) => (query.get(name) ? [[name, query.get(name)!]] : [])));
}

/** The selection of an act. Without any criterion `everything` is said explicitly. */
export function selection(query: URLSearchParams): Record<string, unknown> {
  const ids = query.get("letters");
  if (ids) return { letter_ids: ids.split(",").map(Number).filter(Number.isSafeInteger) };
  const found = criteria(query);
  return Object.keys(found).length ? found : { everything: true };
}

export function inWords(chosen: Record<string, unknown> | Query): string {
  const ids = chosen.letter_ids as number[] | undefined;
  if (ids) return ids.length === 1 ? `letter ${ids[0]}` : `${number(ids.length)} chosen letters`;
  const parts = CRITERIA.flatMap((name) => (chosen[name] ? [`${name.replace("_", " ")} ${String(chosen[name])}`] : []));
  return parts.length ? `all live letters with ${parts.join(", ")}` : "all live letters";
}
