// The loop of Lambda's runtime for Node.js, without its native module, which is faster than with it.
"use strict";

const http = require("node:http");

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
    });
    request.on("error", reject);
    if (body !== undefined) {
      request.setHeader("content-type", "application/json");
      request.setHeader("content-length", Buffer.byteLength(body));
    }
    request.end(body);
  });
}

exports.run = async (handler) => {
  for (;;) {
    const event = await ask("GET", "/2018-06-01/runtime/invocation/next");
    const id = event.headers["lambda-runtime-aws-request-id"];
    const path = `/2018-06-01/runtime/invocation/${id}`;
    try {
      const answer = await handler(JSON.parse(event.body));
      await ask("POST", `${path}/response`, JSON.stringify(answer));
    } catch (error) {
      const body = JSON.stringify({ errorType: error.name, errorMessage: error.message });
      await ask("POST", `${path}/error`, body);
    }
  }
};
