// Refreshes, introspects and revokes with oauth4webapi, which knows only OAuth: any standard client can do the
// same. Only the login itself and GET /me are Latchkey's own.
//
//     npm ci && node oauth-client.mjs http://127.0.0.1:3000
//
// The base URL may also be in LATCHKEY_BASE_URL. Every step prints a line; the first failure ends it with an exit code
// other than 0.

import assert from "node:assert/strict";
import * as oauth from "oauth4webapi";

const baseUrl = (process.argv[2] ?? process.env.LATCHKEY_BASE_URL ?? "").replace(/\/+$/, "");
if (!baseUrl) {
  console.error("usage: node oauth-client.mjs <base URL>, or set LATCHKEY_BASE_URL");
  process.exit(2);
}

const USER = { username: "alice", password: "password" };
const ADMIN = { username: "admin", password: "password" };
const AUDIENCE = "latchkey";
/** In seconds; longer than any response may take, so that a step fails instead of hanging. */
const TIMEOUT = 40;

const client = { client_id: "latchkey" };
const publicClient = oauth.None();

const timeout = () => AbortSignal.timeout(TIMEOUT * 1000);
/** A stack on a laptop speaks plain HTTP. */
const options = { [oauth.allowInsecureRequests]: true, signal: timeout };

// The steps.

async function step(name, walk) {
  try {
    const result = await walk();
    console.log(`ok      ${name}`);
    return result;
  } catch (error) {
    console.log(`FAILED  ${name}`);
    throw error;
  }
}

// What is Latchkey's own.

async function login(credentials) {
  const response = await fetch(`${baseUrl}/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(credentials),
    signal: timeout(),
  });
  const text = await response.text();
  assert.equal(response.status, 200, `POST /login: ${response.status} ${text}`);
  return JSON.parse(text);
}

function me(accessToken) {
  return fetch(`${baseUrl}/me`, { headers: { authorization: `Bearer ${accessToken}` }, signal: timeout() });
}

/** The response of GET /me for a valid token. */
async function identity(accessToken) {
  const response = await me(accessToken);
  const text = await response.text();
  assert.equal(response.status, 200, `GET /me: ${response.status} ${text}`);
  return JSON.parse(text);
}

async function assertRefusedAtMe(accessToken) {
  const response = await me(accessToken);
  assert.equal(response.status, 403, `GET /me: ${response.status} ${await response.text()}`);
}

// What is OAuth's.

async function refresh(refreshToken) {
  const response = await oauth.refreshTokenGrantRequest(server, client, publicClient, refreshToken, options);
  return { response, tokens: await oauth.processRefreshTokenResponse(server, client, response) };
}

async function revoke(token, hint) {
  const additionalParameters = hint === undefined ? undefined : { token_type_hint: hint };
  const response = await oauth.revocationRequest(server, client, publicClient, token, {
    ...options,
    additionalParameters,
  });
  // The library accepts only 200 as success.
  await oauth.processRevocationResponse(response);
  assert.equal(await response.text(), "");
}

/** Introspection requires the access token of a user who may introspect, in place of a client's secret. */
function bearer(accessToken) {
  return (_server, _client, _body, headers) => {
    headers.set("authorization", `Bearer ${accessToken}`);
  };
}

async function introspect(token, callersToken) {
  const response = await oauth.introspectionRequest(server, client, bearer(callersToken), token, options);
  return oauth.processIntrospectionResponse(server, client, response);
}

async function assertInactive(token, callersToken) {
  // RFC 7662 §2.2: nothing else about an invalid token.
  assert.deepEqual(await introspect(token, callersToken), { active: false });
}

/** The library must recognize an OAuth error (RFC 6749 §5.2), so that an application can tell it from a failure. */
async function assertOAuthError(attempt, code) {
  await assert.rejects(attempt, (error) => {
    assert.ok(error instanceof oauth.ResponseBodyError, error);
    assert.deepEqual([error.status, error.error], [400, code]);
    assert.ok(error.error_description, "error_description is missing");
    assert.ok(error.cause.message, "message is missing");
    return true;
  });
}

/** An error of RFC 6750 §3: the library parses the challenge; the body has the same code. */
async function assertInsufficientScope(attempt) {
  const error = await attempt.then(
    (answer) => assert.fail(`not refused: ${JSON.stringify(answer)}`),
    (error) => error,
  );
  assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, error);
  assert.equal(error.status, 403);
  assert.equal(error.cause.length, 1);
  assert.equal(error.cause[0].scheme, "bearer");
  assert.equal(error.cause[0].parameters.error, "insufficient_scope");
  assert.equal((await error.response.json()).error, "insufficient_scope");
}

// A session of the user, and an administrator, who may introspect.
const session = await step("log in", () => login(USER));
const admin = await step("log in as administrator", () => login(ADMIN));

/** The server's metadata, by hand: the issuer is an https URL, wherever the endpoints are. */
const server = {
  issuer: JSON.parse(Buffer.from(session.access_token.split(".")[1], "base64url")).iss,
  jwks_uri: `${baseUrl}/.well-known/jwks.json`,
  token_endpoint: `${baseUrl}/token`,
  revocation_endpoint: `${baseUrl}/revoke`,
  introspection_endpoint: `${baseUrl}/introspect`,
};

const { tokens } = await step("refresh", async () => {
  const refreshed = await refresh(session.refresh_token);
  const { headers } = refreshed.response;
  assert.equal(headers.get("cache-control"), "no-store");
  // The library writes the type in lower case, whatever the server does.
  assert.equal(refreshed.tokens.token_type, "bearer");
  assert.ok(refreshed.tokens.expires_in > 0);
  assert.notEqual(refreshed.tokens.access_token, session.access_token);
  assert.ok(refreshed.tokens.refresh_token);
  assert.notEqual(refreshed.tokens.refresh_token, session.refresh_token);
  return refreshed;
});

const user = await step("the new access token is the user's", async () => {
  const [before, after] = [await identity(session.access_token), await identity(tokens.access_token)];
  assert.equal(after.username, USER.username);
  assert.deepEqual([after.sub, after.sid], [before.sub, before.sid]);
  assert.notEqual(after.jti, before.jti);
  return after;
});

await step("the new access token is one by RFC 9068, with a key of the key set", async () => {
  const request = new Request(`${baseUrl}/me`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  const claims = await oauth.validateJwtAccessToken(server, request, AUDIENCE, options);
  assert.deepEqual([claims.sub, claims.jti, claims.client_id], [user.sub, user.jti, client.client_id]);
});

await step("introspect the access token", async () => {
  const found = await introspect(tokens.access_token, admin.access_token);
  const { active, sub, username, client_id, token_type, exp, iat, nbf, aud, iss, jti } = found;
  assert.deepEqual(
    { active, sub, username, client_id, token_type, exp, aud, iss, jti },
    {
      active: true,
      sub: user.sub,
      username: USER.username,
      client_id: client.client_id,
      token_type: "Bearer",
      exp: user.exp,
      aud: AUDIENCE,
      iss: server.issuer,
      jti: user.jti,
    },
  );
  assert.ok(nbf <= exp && iat < exp, JSON.stringify(found));
});

await step("introspect the refresh token", async () => {
  const found = await introspect(tokens.refresh_token, admin.access_token);
  assert.equal(found.active, true);
});

await step("introspect what is no token", () => assertInactive("garbage", admin.access_token));

await step("introspection is not for everybody", async () => {
  await assertInsufficientScope(introspect(tokens.access_token, tokens.access_token));
  const nobody = await oauth.introspectionRequest(server, client, publicClient, tokens.access_token, options);
  assert.equal(nobody.status, 401, `POST /introspect: ${nobody.status} ${await nobody.text()}`);
});

await step("revoke the refresh token", () => revoke(tokens.refresh_token, "refresh_token"));

await step("nothing of the session counts any more", async () => {
  await assertOAuthError(refresh(tokens.refresh_token), "invalid_grant");
  await assertOAuthError(refresh(session.refresh_token), "invalid_grant");
  await assertRefusedAtMe(tokens.access_token);
  await assertRefusedAtMe(session.access_token);
  await assertInactive(tokens.access_token, admin.access_token);
  await assertInactive(tokens.refresh_token, admin.access_token);
});

await step("revoke what is revoked, and what is no token", async () => {
  await revoke(tokens.refresh_token);
  await revoke("garbage");
  await revoke("garbage", "refresh_token");
});

await step("revoke by a wrong hint", async () => {
  const { access_token, refresh_token } = await login(USER);
  await revoke(refresh_token, "access_token");
  await assertOAuthError(refresh(refresh_token), "invalid_grant");
  await assertRefusedAtMe(access_token);
});

await step("revoke an access token alone: its session goes on", async () => {
  const { access_token, refresh_token } = await login(USER);
  await revoke(access_token, "access_token");
  await assertRefusedAtMe(access_token);
  await assertInactive(access_token, admin.access_token);
  const { tokens: next } = await refresh(refresh_token);
  assert.equal((await identity(next.access_token)).username, USER.username);
  // Nothing is left behind.
  await revoke(next.refresh_token);
});

await step("what the token endpoint does not do is an OAuth error", async () => {
  const request = async (grantType, parameters) => {
    const response = await oauth.genericTokenEndpointRequest(
      server,
      client,
      publicClient,
      grantType,
      parameters,
      options,
    );
    return oauth.processGenericTokenEndpointResponse(server, client, response);
  };
  await assertOAuthError(request("password", USER), "unsupported_grant_type");
  await assertOAuthError(request("refresh_token", {}), "invalid_request");
  await assertOAuthError(request("refresh_token", { refresh_token: "garbage" }), "invalid_grant");
});

await step("the administrator's session ends", () => revoke(admin.refresh_token));
