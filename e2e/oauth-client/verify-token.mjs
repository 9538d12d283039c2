// Two JWT libraries verify an access token with nothing but the key set's address: jose and aws-jwt-verify.
// Arguments: the base URL, the token. It ends with 0 if each accepts the token and refuses a changed one.
import assert from "node:assert/strict";
import { createRemoteJWKSet, decodeProtectedHeader, decodeJwt, jwtVerify } from "jose";
import { JwtVerifier } from "aws-jwt-verify";

const [baseUrl, token] = process.argv.slice(2);
const jwksUri = `${baseUrl}/.well-known/jwks.json`;
const { alg } = decodeProtectedHeader(token);
const { iss: issuer, sub } = decodeJwt(token);
const audience = "latchkey";

// Another character in the middle of the signature.
const [head, claims, signature] = token.split(".");
const middle = signature.length >> 1;
const other = signature[middle] === "A" ? "B" : "A";
const changed = [head, claims, signature.slice(0, middle) + other + signature.slice(middle + 1)].join(".");

const keys = createRemoteJWKSet(new URL(jwksUri));
const options = { issuer, audience, typ: "at+jwt", algorithms: [alg] };
assert.equal((await jwtVerify(token, keys, options)).payload.sub, sub);
await assert.rejects(jwtVerify(changed, keys, options), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });
await assert.rejects(jwtVerify(token, keys, { ...options, audience: "other" }));
console.log(`jose ${alg} ok`);

// It fetches key sets by https only, so it is handed this one.
const verifier = JwtVerifier.create({ issuer, audience, jwksUri });
verifier.cacheJwks(await (await fetch(jwksUri)).json());
assert.equal((await verifier.verify(token)).sub, sub);
await assert.rejects(verifier.verify(changed), { message: "Invalid signature" });
console.log(`aws-jwt-verify ${alg} ok`);
