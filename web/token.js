// An access token taken apart, and its signature checked with the published keys (RFC 7515, RFC 7517).

import { request } from "./api.js";

function bytes(base64url) {
  const base64 = base64url.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

const json = (base64url) => JSON.parse(new TextDecoder().decode(bytes(base64url)));

/** Header and claims. This proves nothing: only the signature does. */
export function takenApart(token) {
  const [header, claims] = token.split(".");
  return { header: json(header), claims: json(claims) };
}

/** WebCrypto's names of the algorithms, for importing a key and for verifying. */
const ALGORITHMS = {
  ES256: [{ name: "ECDSA", namedCurve: "P-256" }, { name: "ECDSA", hash: "SHA-256" }],
  RS256: [{ name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, { name: "RSASSA-PKCS1-v1_5" }],
  EdDSA: [{ name: "Ed25519" }, { name: "Ed25519" }],
};

let keys = [];

/** The public key; the key set is fetched again if it is unknown. */
async function publicKey(kid) {
  const find = () => keys.find((key) => key.kid === kid);
  if (!find()) keys = (await request("GET", "/.well-known/jwks.json")).keys;
  return find();
}

/** `{ good, text }`: whether the signature is by a published key; `good` is `null` if that is unknown. */
export async function signatureState(token) {
  const unknown = (text) => ({ good: null, text });
  try {
    const [header, claims, signature] = token.split(".");
    const { alg, kid } = json(header);
    if (alg === "HS256") return unknown("HS256 has no public key: only holders of the secret can check it");
    const [imported, verified] = ALGORITHMS[alg] ?? [];
    if (!imported) return unknown(`this browser page does not know ${alg}`);
    if (!globalThis.crypto?.subtle) return unknown("this browser checks signatures on https pages only");
    const jwk = await publicKey(kid);
    if (!jwk || jwk.alg !== alg) return { good: false, text: "no published key of this id and algorithm" };
    const key = await crypto.subtle.importKey("jwk", jwk, imported, false, ["verify"]);
    const message = new TextEncoder().encode(`${header}.${claims}`);
    const good = await crypto.subtle.verify(verified, key, bytes(signature), message);
    return { good, text: good ? `${alg}, by a published key` : "not that of the key it names" };
  } catch {
    return unknown("it could not be checked in this browser");
  }
}
