// Where the console shows what a path of the query service says.
import { to } from "./router.svelte";

export function toSee(finding: { see?: string | null }): string {
  if (!finding.see) return "";
  const { pathname, searchParams } = new URL(finding.see, location.origin);
  const [first, second, third] = pathname.split("/").filter(Boolean).map(decodeURIComponent);
  const query = Object.fromEntries(searchParams);
  if (first === "dead-letters") {
    if (second === "jobs" && third) return to(["failures", "jobs", third]);
    return second && second !== "groups" ? to(["failures", "letters", second]) : to(["failures"], query);
  }
  if (first === "projections" || first === "processes") return to([first, ...(second ? [second] : [])], query);
  if (first === "checks") return to(["proof", ...(second ? [second] : [])]);
  return "";
}
