// Who is signed in. The key, or the provider's access token, lives in sessionStorage: it ends with the tab, and is never part of a URL.
import type { Me } from "../api/shapes";

const KEY = "tidemark-key";
const NAME = "tidemark-name";
const PROVIDER = "tidemark-provider";

export const session = $state({
  key: sessionStorage.getItem(KEY) ?? "",
  /** Who acts, for the audit, while authentication is off. */
  name: sessionStorage.getItem(NAME) ?? "",
  /** Whether an OpenID provider gave the key. */
  byProvider: sessionStorage.getItem(PROVIDER) === "yes",
  me: undefined as Me | undefined,
  /** Whether the services have stopped accepting the key since it was signed in with. */
  ended: false,
  /** Where the command service is: "" is the page's own origin. */
  commandsUrl: "",
  /** Whether one can sign in with an OpenID provider. */
  singleSignOn: false,
});

export function keep(key: string, name: string, byProvider = false): void {
  session.key = key;
  session.name = name;
  session.byProvider = byProvider;
  sessionStorage.setItem(KEY, key);
  sessionStorage.setItem(NAME, name);
  sessionStorage.setItem(PROVIDER, byProvider ? "yes" : "");
}

export function signOut(): void {
  keep("", "");
  session.me = undefined;
}

/** The key is no longer accepted: it was revoked, or its time is over. */
export function expire(): void {
  signOut();
  session.ended = true;
}

/** The rule of shared/http/identities/scopes.py: exact, or a wildcard for the family or the context. */
export function allows(granted: readonly string[], needed: string): boolean {
  const [family, action = ""] = split(needed, ":");
  const [context, rest] = split(action, ".");
  return (
    granted.includes(needed) ||
    granted.includes("*") ||
    granted.includes(`${family}:*`) ||
    (rest !== undefined && family === "commands" && granted.includes(`commands:${context}.*`))
  );
}

/** Why this may not be done now; "" where it may. */
export function refusal(scope: string): string {
  const me = session.me;
  if (!me) return "You are not signed in.";
  if (!allows(me.scopes, scope)) return `It needs the scope ${scope}, which ${me.subject ?? "your credential"} does not have.`;
  return "";
}

/** Why this act may not be done now; "" where it may. */
export function refusalOfAct(scope: string): string {
  const read = session.me?.read_only;
  if (read?.on && scope !== "operations:read-only")
    return `The console and all acts are read-only${read.by ? `, switched by ${read.by}` : ""}${read.reason ? `: ${read.reason}` : ""}.`;
  return refusal(scope);
}

function split(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
