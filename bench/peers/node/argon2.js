// Milliseconds of an Argon2id hash by @node-rs/argon2, which is Rust's argon2 called from Node.js.
"use strict";

const { hashSync } = require("@node-rs/argon2");

const count = Number(process.argv[2] ?? 20);
const options = { memoryCost: 19456, timeCost: 2, parallelism: 1 };
hashSync("correct horse battery staple", options);
const begun = process.hrtime.bigint();
for (let i = 0; i < count; i++) hashSync("correct horse battery staple", options);
console.log(Number(process.hrtime.bigint() - begun) / 1e6 / count);
