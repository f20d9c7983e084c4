// One clock for the page, and how times are written.
export const clock = $state({ now: Date.now() });
setInterval(() => (clock.now = Date.now()), 1000);

const STORED = "tidemark-times";
const stored = (localStorage.getItem(STORED) ?? "utc relative").split(" ");

export const times = $state({ local: stored[0] === "local", absolute: stored[1] === "absolute" });

export function keepTimes(): void {
  localStorage.setItem(STORED, `${times.local ? "local" : "utc"} ${times.absolute ? "absolute" : "relative"}`);
}

export function duration(seconds: number): string {
  const size = Math.abs(seconds);
  if (size < 1) return `${Math.round(size * 1000)} ms`;
  if (size < 10) return `${size.toFixed(1)} s`;
  if (size < 120) return `${Math.round(size)} s`;
  if (size < 7200) return `${Math.round(size / 60)} min`;
  if (size < 172_800) return `${Math.round(size / 3600)} h`;
  return `${Math.round(size / 86_400)} days`;
}

export function relative(time: number, now: number): string {
  const seconds = (now - time) / 1000;
  if (Math.abs(seconds) < 1.5) return "just now";
  return seconds > 0 ? `${duration(Math.round(seconds))} ago` : `in ${duration(Math.round(-seconds))}`;
}

export function absolute(time: number, local: boolean): string {
  const date = new Date(time);
  if (!local) return date.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  const two = (value: number) => String(value).padStart(2, "0");
  const zone = -date.getTimezoneOffset();
  const offset = `${zone < 0 ? "−" : "+"}${two(Math.floor(Math.abs(zone) / 60))}:${two(Math.abs(zone) % 60)}`;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${offset}`;
}
