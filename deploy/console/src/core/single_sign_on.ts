// Signing in with an OpenID provider: the authorization code flow with PKCE. What belongs to one attempt stays in this tab; the query
// service redeems the code, so that the page asks no other host.
import { Problem, send } from "./api";
import { keep } from "./session.svelte";

const ATTEMPT = "tidemark-attempt";
const PATH = "/console/sign-in";
const home = () => `${location.origin}/console/`;

interface Provider {
  issuer: string;
  authorization_endpoint: string;
  end_session_endpoint: string;
  client_id: string;
  scope: string;
}

interface Attempt {
  state: string;
  nonce: string;
  verifier: string;
  issuer: string;
  /** The address of the console that was asked for. */
  back: string;
}

/** Send the browser to the provider. Throws Problem. */
export async function leaveToSignIn(): Promise<void> {
  const provider = await ask();
  const attempt: Attempt = { state: random(), nonce: random(), verifier: random(), issuer: provider.issuer, back: location.pathname + location.search };
  sessionStorage.setItem(ATTEMPT, JSON.stringify(attempt));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(attempt.verifier));
  go(provider.authorization_endpoint, {
    response_type: "code",
    client_id: provider.client_id,
    redirect_uri: home(),
    scope: provider.scope,
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  });
}

/** What the provider has sent the browser back with, if it has, becomes a credential, and the address is what it was. Throws Problem. */
export async function returnFromSignIn(): Promise<void> {
  const answer = new URLSearchParams(location.search);
  const code = answer.get("code");
  const kept = sessionStorage.getItem(ATTEMPT);
  if (!answer.has("state") || !(code || answer.has("error"))) return;
  sessionStorage.removeItem(ATTEMPT);
  const attempt = kept ? (JSON.parse(kept) as Attempt) : undefined;
  history.replaceState(null, "", attempt?.back ?? home());
  const isOurs = attempt && answer.get("state") === attempt.state && (answer.get("iss") ?? attempt.issuer) === attempt.issuer;
  if (!isOurs || !code) throw new Problem(403, "sign-in-refused", "This sign-in is not accepted: begin again.");
  const body = { code, code_verifier: attempt.verifier, nonce: attempt.nonce, redirect_uri: home() };
  keep((await send<{ access_token: string }>({ method: "POST", path: PATH, body })).data.access_token, "", true);
}

/** End the provider's session too, where it offers that: else its next answer would sign the same person in again. */
export async function leaveToSignOut(): Promise<void> {
  const provider = await ask();
  if (provider.end_session_endpoint) go(provider.end_session_endpoint, { client_id: provider.client_id, post_logout_redirect_uri: home() });
}

async function ask(): Promise<Provider> {
  return (await send<Provider>({ method: "GET", path: PATH })).data;
}

function go(endpoint: string, parameters: Record<string, string>): void {
  const address = new URL(endpoint);
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  location.assign(address);
}

function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
