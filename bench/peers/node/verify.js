// Verifications a second by fast-jwt, of the tokens and keys on standard input: [{algorithm, token, now, key}], where the key is
// {jwk} or {secret}, and each is verified at its time `now`, in seconds. It prints one JSON object. fast-jwt's cache of verified
// tokens stays off: with it the same token would be looked up and not verified.
"use strict";

const { createPublicKey } = require("node:crypto");

const { createVerifier } = require("fast-jwt");

const seconds = Number(process.argv[2] ?? 1);
const cases = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const rates = {};
for (const { algorithm, token, now, key: { jwk, secret } } of cases) {
  const key = jwk
    ? createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" })
    : Buffer.from(secret, "base64");
  const verify = createVerifier({ key, algorithms: [algorithm], cache: false, clockTimestamp: now * 1000 });
  const rate = (seconds) => {
    let count = 0;
    const begun = process.hrtime.bigint();
    const ends = begun + BigInt(Math.round(seconds * 1e9));
    while (process.hrtime.bigint() < ends) {
      for (let i = 0; i < 20; i++) verify(token);
      count += 20;
    }
    return (count * 1e9) / Number(process.hrtime.bigint() - begun);
  };
  // The first half second is for the compiler.
  rate(0.5);
  rates[algorithm] = rate(seconds);
}
console.log(JSON.stringify(rates));
