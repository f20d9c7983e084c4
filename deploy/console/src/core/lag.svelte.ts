// The lag of each reader while the console is open: the API has no history of it; Prometheus does.
import type { FreshnessReport } from "../api/shapes";

const MOST = 600;
const times: number[] = [];
const series = new Map<string, (number | null)[]>();

export const lag = $state({ samples: 0 });

export function sample(report: FreshnessReport): void {
  const found = new Map(report.projections.concat(report.process_managers as never).flatMap((each) => ("error" in each ? [] : [[each.projection, each.lag_seconds ?? null] as const])));
  for (const name of found.keys()) if (!series.has(name)) series.set(name, times.map(() => null));
  times.push(Date.now() / 1000);
  for (const [name, values] of series) {
    values.push(found.get(name) ?? null);
    if (values.length > MOST) values.shift();
  }
  if (times.length > MOST) times.shift();
  lag.samples++;
}

export function lagOf(names: readonly string[]): [number[], ...(number | null)[][]] {
  return [[...times], ...names.map((name) => [...(series.get(name) ?? times.map(() => null))])];
}
