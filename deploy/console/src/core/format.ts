export const number = (value: number | string | null | undefined): string =>
  value === null || value === undefined ? "–" : typeof value === "number" ? value.toLocaleString("en-GB", { maximumFractionDigits: 1 }) : value;

export const count = (value: number, one: string, many = `${one}s`): string => `${number(value)} ${value === 1 ? one : many}`;

/** Minor units as an amount: 1998 EUR is 19.98 EUR. */
export function money(minor: number | string | null | undefined, currency: string | null | undefined): string {
  if (minor === null || minor === undefined) return "–";
  const digits = currency ? (new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2) : 2;
  const text = String(minor).replace("-", "").padStart(digits + 1, "0");
  const whole = BigInt(text.slice(0, text.length - digits)).toLocaleString("en-GB");
  return `${String(minor).startsWith("-") ? "−" : ""}${whole}${digits ? `.${text.slice(-digits)}` : ""} ${currency ?? ""}`.trim();
}

export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export function firstLine(text: string, most = 160): string {
  const line = text.split("\n", 1)[0] ?? "";
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
