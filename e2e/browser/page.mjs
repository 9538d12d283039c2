// What people do on the page, in Chromium. BASE_URL is a stack as on a laptop, with access tokens that live for 60 seconds;
// DEPLOYED_URL is one with the template's own parameters. CHROMIUM names another browser than the one from npm.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync, mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

import packed from "@sparticuz/chromium";
import { chromium } from "playwright-core";

const { BASE_URL, DEPLOYED_URL, SCREENSHOTS } = process.env;
const AXE = readFileSync(createRequire(join(process.cwd(), "package.json")).resolve("axe-core/axe.min.js"), "utf8");
const PASSWORD = "seven unrelated marbles under glass";
const TIMEOUT = 15_000;

let browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? (await packed.executablePath()),
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  });
});

after(() => browser?.close());

let users = 0;

/** A user of this test's own. */
async function newUser() {
  const username = `reader-${process.pid}-${(users += 1)}`;
  const answer = await fetch(`${BASE_URL}/register`, { method: "POST", body: JSON.stringify({ username, password: PASSWORD }) });
  assert.equal(answer.status, 201, await answer.text());
  return username;
}

/** A browser of its own, so to speak: nothing is shared with other contexts. What goes wrong in its pages is an error. */
async function visitor(options = {}) {
  const context = await browser.newContext({ baseURL: BASE_URL, ...options });
  context.setDefaultTimeout(TIMEOUT);
  const problems = [];
  const requests = [];
  context.on("weberror", (error) => problems.push(String(error.error())));
  context.on("console", (message) => {
    // The browser notes each answer that is an error; which ones are right is what the tests say.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) problems.push(message.text());
  });
  context.on("request", (request) => requests.push(`${request.method()} ${new URL(request.url()).pathname}`));
  return {
    context,
    requests,
    async open() {
      const page = await context.newPage();
      await page.goto("/");
      await page.waitForFunction(() => document.readyState === "complete");
      return page;
    },
    async close() {
      await context.close();
      assert.deepEqual(problems, []);
    },
  };
}

async function signIn(page, username, password = PASSWORD) {
  const form = page.locator("#login");
  await form.getByLabel("Username").fill(username);
  await form.getByLabel("Password").fill(password);
  await form.getByRole("button", { name: "Sign in" }).click();
}

const greeting = (page, username) => page.getByRole("heading", { level: 1, name: `Hello, ${username}` });
const signInHeading = (page) => page.getByRole("heading", { level: 1, name: "Sign in" });

/** Waits until a text is seen. */
const seen = (page, text) => page.getByText(text).first().waitFor();

async function accessToken(page) {
  return page.evaluate(async () => (await import("/page/session.js")).current()?.access ?? null);
}

describe("the page", { concurrency: 4 }, () => {
  test("sign in, the protected resource, and an admin's that is refused", async () => {
    const someone = await visitor();
    const page = await someone.open();
    await signIn(page, "alice", "password");
    await greeting(page, "alice").waitFor();
    assert.ok(await greeting(page, "alice").evaluate((heading) => heading === document.activeElement), "the focus moves");
    await seen(page, "Signed in as alice");

    await page.getByRole("button", { name: "Protected resource" }).click();
    await seen(page, "Hello, alice! This answer is for signed-in users only.");
    await page.getByRole("button", { name: "Admin only" }).click();
    await seen(page, "This needs the role `admin`.");

    // The refusal of a role is none of the token: nothing was renewed for it.
    assert.ok(!someone.requests.includes("POST /token"));
    await page.getByText("by a published key").waitFor();
    assert.match(await page.locator("#expiry").textContent(), /^in (1 min )?\d+ s$/);
    const claims = await page.locator("#token-claims").textContent();
    assert.match(claims, /issalice|usernamealice/);

    // What was said is shown, and no secret with it.
    const exchanges = await page.locator("#exchanges").textContent();
    assert.match(exchanges, /POST\/login200/);
    assert.ok(!exchanges.includes(await accessToken(page)), "a whole token is shown");
    assert.ok(!/"password": "(?!•••)/.test(exchanges), "a password is shown");
    await someone.close();
  });

  test("an administrator is let through", async () => {
    const someone = await visitor();
    const page = await someone.open();
    await signIn(page, "admin", "password");
    await page.getByRole("button", { name: "Admin only" }).click();
    await seen(page, "This answer is for administrators only.");
    await someone.close();
  });

  test("a wrong password is said in a sentence", async () => {
    const someone = await visitor();
    const page = await someone.open();
    await signIn(page, await newUser(), "not the password at all");
    await page.getByRole("alert").filter({ hasText: "The username or the password is wrong." }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "login-password");
    await signInHeading(page).waitFor();
    await someone.close();
  });

  test("a browser that was signed in before is not locked out by somebody else's guesses", async () => {
    const username = await newUser();
    const owner = await visitor();
    const page = await owner.open();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    const device = await page.evaluate(() => localStorage.getItem("latchkey.device"));
    assert.match(device, /^[\w-]{22}$/);
    assert.ok(!(await page.locator("#exchanges").textContent()).includes(device), "the device token is shown");
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await signInHeading(page).waitFor();

    // From the same address.
    for (let answer = {}; answer.error !== "attempts_used_up"; ) {
      const guess = JSON.stringify({ username, password: "a guess" });
      answer = await (await fetch(`${BASE_URL}/login`, { method: "POST", body: guess })).json();
      await new Promise((resolve) => setTimeout(resolve, (answer.retry_after ?? 0) * 1000));
    }
    const other = await visitor();
    const elsewhere = await other.open();
    await signIn(elsewhere, username);
    await elsewhere.getByRole("alert").filter({ hasText: "waiting does not help" }).waitFor();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    await signIn(elsewhere, username);
    await greeting(elsewhere, username).waitFor();
    await owner.close();
    await other.close();
  });

  test("a browser whose device token was stolen is not locked out", async () => {
    const username = await newUser();
    const owner = await visitor();
    const page = await owner.open();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    const device = () => page.evaluate(() => localStorage.getItem("latchkey.device"));
    const stolen = await device();
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await signInHeading(page).waitFor();
    for (let answer = {}; answer.error !== "device_attempts_used_up"; ) {
      const guess = JSON.stringify({ username, password: "a guess", device_token: stolen });
      answer = await (await fetch(`${BASE_URL}/login`, { method: "POST", body: guess })).json();
      await new Promise((resolve) => setTimeout(resolve, (answer.retry_after ?? 0) * 1000));
    }
    await signIn(page, username, "not the password at all");
    await page.getByRole("alert").filter({ hasText: "The username or the password is wrong." }).waitFor();
    assert.equal(await device(), stolen, "only a success replaces it");
    await signIn(page, username);
    await greeting(page, username).waitFor();
    assert.match(await device(), /^[\w-]{22}$/);
    assert.notEqual(await device(), stolen);
    await owner.close();
  });

  test("a device token that cannot be one does not prevent a login", async () => {
    const someone = await visitor();
    const page = await someone.open();
    await page.evaluate(() => localStorage.setItem("latchkey.device", "something else"));
    await signIn(page, "alice", "password");
    await greeting(page, "alice").waitFor();
    assert.match(await page.evaluate(() => localStorage.getItem("latchkey.device")), /^[\w-]{22}$/);
    await someone.close();
  });

  test("a field that was left empty is named", async () => {
    const someone = await visitor();
    const page = await someone.open();
    await page.locator("#login").getByRole("button").click();
    await page.getByRole("alert").filter({ hasText: "Username is missing." }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "login-username");
    assert.deepEqual(someone.requests.filter((request) => request.startsWith("POST")), []);
    await someone.close();
  });

  test("register, with a password that is easy to guess and with one that is not", async () => {
    const someone = await visitor();
    const page = await someone.open();
    const username = `new-${process.pid}`;
    const form = page.locator("#register");
    await form.getByLabel("Username").fill(username);
    await form.getByLabel("Password").fill("passwordpassword");
    await form.getByRole("button").click();
    await page.getByRole("alert").filter({ hasText: "The password is easy to guess." }).waitFor();
    await form.getByLabel("Password").fill(PASSWORD);
    await form.getByRole("button").click();
    await greeting(page, username).waitFor();
    await seen(page, "The account was created, and you are signed in.");
    await someone.close();
  });

  test("with the keyboard alone", async () => {
    const someone = await visitor();
    const page = await someone.open();
    const username = await newUser();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    await page.keyboard.press("Tab");
    await page.keyboard.type(username);
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await greeting(page, username).waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), "logout");
    await page.keyboard.press("Enter");
    await signInHeading(page).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "signed-out-title");
    await someone.close();
  });

  test("sign out here: the token is revoked, and the other tab knows", async () => {
    const someone = await visitor();
    const [page, other] = [await someone.open(), await someone.open()];
    const username = await newUser();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    await greeting(other, username).waitFor();
    const token = await accessToken(page);
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await signInHeading(page).waitFor();
    await signInHeading(other).waitFor();
    await seen(page, "You are signed out.");
    const answer = await fetch(`${BASE_URL}/me`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 403);
    await someone.close();
  });

  test("sign out everywhere, from another browser", async () => {
    const [here, there] = [await visitor(), await visitor()];
    const [page, elsewhere] = [await here.open(), await there.open()];
    const username = await newUser();
    await signIn(page, username);
    await signIn(elsewhere, username);
    await greeting(page, username).waitFor();
    await greeting(elsewhere, username).waitFor();
    await elsewhere.getByRole("button", { name: "Sign out everywhere" }).click();
    await seen(elsewhere, "You are signed out everywhere.");
    await page.getByRole("button", { name: "Who am I" }).click();
    await signInHeading(page).waitFor();
    await seen(page, "Your session has ended. Sign in again.");
    // It tried to renew the token once.
    assert.equal(here.requests.filter((request) => request === "POST /token").length, 1);
    await here.close();
    await there.close();
  });

  test("end another session from the list", async () => {
    const [here, there] = [await visitor({ userAgent: "here" }), await visitor({ userAgent: "there" })];
    const [page, elsewhere] = [await here.open(), await there.open()];
    const username = await newUser();
    await signIn(elsewhere, username);
    await greeting(elsewhere, username).waitFor();
    await signIn(page, username);
    await page.getByRole("button", { name: /^End the session of there/ }).click();
    await seen(page, "That session was ended.");
    await page.getByRole("button", { name: /^End the session/ }).waitFor({ state: "detached" });
    await elsewhere.getByRole("button", { name: "Protected resource" }).click();
    await signInHeading(elsewhere).waitFor();
    await here.close();
    await there.close();
  });

  test("change the password", async () => {
    const someone = await visitor();
    const page = await someone.open();
    const username = await newUser();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    const before = await accessToken(page);
    const form = page.locator("#password");
    const other = "eleven quiet lanterns on the pier";
    await form.getByLabel("Current password").fill("not the password at all");
    await form.getByLabel("New password").fill(other);
    await form.getByRole("button").click();
    await page.getByRole("alert").filter({ hasText: "The current password is wrong." }).waitFor();
    await form.getByLabel("Current password").fill(PASSWORD);
    await form.getByRole("button").click();
    await seen(page, "The password was changed.");
    assert.notEqual(await accessToken(page), before);
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await signIn(page, username, other);
    await greeting(page, username).waitFor();
    await someone.close();
  });

  test("tokens are gone with the tab, unless one wants to keep them", async () => {
    const someone = await visitor();
    const page = await someone.open();
    const username = await newUser();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    const stored = () => page.evaluate(() => sessionStorage.length + document.cookie.length);
    assert.equal(await stored(), 0);
    // Which authenticates nobody.
    assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), ["latchkey.device"]);
    await page.getByLabel("Keep me signed in when this tab reloads").check();
    assert.equal(await stored(), 1);
    await page.reload();
    await greeting(page, username).waitFor();
    await page.getByLabel("Keep me signed in when this tab reloads").uncheck();
    assert.equal(await stored(), 0);
    await page.reload();
    await signInHeading(page).waitFor();
    await someone.close();
  });

  test("two tabs renew the tokens once, before they expire", async () => {
    const someone = await visitor();
    const page = await someone.open();
    const username = await newUser();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    const other = await someone.open();
    await greeting(other, username).waitFor();
    const before = await accessToken(page);
    assert.equal(await accessToken(other), before);
    const deadline = Date.now() + 70_000;
    for (const tab of [page, other]) {
      while ((await accessToken(tab)) === before) {
        assert.ok(Date.now() < deadline, "nothing was renewed");
        await tab.waitForTimeout(500);
      }
    }
    await page.waitForTimeout(1000);
    assert.equal(someone.requests.filter((request) => request === "POST /token").length, 1);
    assert.equal(await accessToken(page), await accessToken(other));
    // Past the end of the first one, of which the signature's time is the proof.
    const { exp } = JSON.parse(Buffer.from(before.split(".")[1], "base64url"));
    await page.waitForTimeout(Math.max(0, exp * 1000 - Date.now()) + 1000);
    for (const tab of [page, other]) {
      await tab.getByRole("button", { name: "Protected resource" }).click();
      await seen(tab, `Hello, ${username}! This answer`);
    }
    assert.equal(someone.requests.filter((request) => request === "POST /token").length, 1);
    await someone.close();
  });

  test("a token that stopped counting is renewed once, and the request sent again", async () => {
    const someone = await visitor();
    const page = await someone.open();
    const username = await newUser();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    const token = await accessToken(page);
    const revoked = await fetch(`${BASE_URL}/revoke`, { method: "POST", body: new URLSearchParams({ token }) });
    assert.equal(revoked.status, 200);
    await Promise.all(
      ["Protected resource", "Who am I"].map((name) => page.getByRole("button", { name }).click()),
    );
    await seen(page, new RegExp(`Hello, ${username}! This answer|/me answered`));
    await page.waitForTimeout(1000);
    assert.equal(someone.requests.filter((request) => request === "POST /token").length, 1);
    await greeting(page, username).waitFor();
    await someone.close();
  });

  test("the signature of a token is checked in the browser", async () => {
    const someone = await visitor();
    const page = await someone.open();
    await signIn(page, await newUser());
    await page.getByText("by a published key").waitFor();
    const states = await page.evaluate(async () => {
      const { signatureState } = await import("/page/token.js");
      const { current } = await import("/page/session.js");
      const [header, claims, signature] = current().access.split(".");
      const first = signature.startsWith("A") ? "B" : "A";
      const other = btoa(JSON.stringify({ alg: "ES256", kid: "unknown" })).replaceAll("=", "");
      const tokens = [`${header}.${claims}.${signature}`, `${header}.${claims}.${first}${signature.slice(1)}`, `${other}.${claims}.${signature}`];
      return Promise.all(tokens.map(async (token) => (await signatureState(token)).good));
    });
    assert.deepEqual(states, [true, false, false]);
    await someone.close();
  });

  test("when the API cannot be reached, the page says so and keeps the session", async () => {
    const someone = await visitor();
    const page = await someone.open();
    const username = await newUser();
    await signIn(page, username);
    await greeting(page, username).waitFor();
    await someone.context.setOffline(true);
    await page.getByRole("button", { name: "Who am I" }).click();
    await seen(page, "The API does not answer.");
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.locator("#notice").getByText("The API does not answer.").waitFor();
    await someone.context.setOffline(false);
    await page.getByRole("button", { name: "Protected resource" }).click();
    await seen(page, `Hello, ${username}! This answer`);
    await someone.close();
  });

  for (const colorScheme of ["light", "dark"]) {
    for (const [device, width, height] of [["phone", 390, 844], ["desktop", 1280, 900]]) {
      test(`nothing stands in anyone's way: ${device}, ${colorScheme}`, async () => {
        const someone = await visitor({ colorScheme, viewport: { width, height }, reducedMotion: "reduce" });
        const page = await someone.open();
        const look = async (state) => {
          await page.evaluate(AXE);
          const { violations } = await page.evaluate(() => globalThis.axe.run());
          const found = violations.map(({ id, nodes }) => `${state}: ${id}: ${nodes.map((node) => node.html).join(" ")}`);
          assert.deepEqual(found, []);
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.equal(overflow, 0, `${state}: the page is wider than the window`);
          await page.screenshot({ path: join(SCREENSHOTS, `${device}-${colorScheme}-${state}.png`), fullPage: true });
        };
        await look("signed-out");
        const username = await newUser();
        await signIn(page, username, "not the password at all");
        await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
        await look("wrong-password");
        await signIn(page, username);
        await page.getByText("by a published key").waitFor();
        await page.getByText("here", { exact: true }).waitFor();
        await page.getByRole("button", { name: "Protected resource" }).click();
        await seen(page, "This answer is for signed-in users only.");
        await page.getByText("Raw token").click();
        await page.locator("#exchanges summary").first().click();
        await look("signed-in");
        await someone.close();
      });
    }
  }
});

/** A page of somebody else's that signs in and asks for the protected resource. */
const OTHER_PAGE = `<!doctype html><title>another page</title><p>not yet</p><script>
(async () => {
  const api = new URLSearchParams(location.hash.slice(1)).get("api");
  const out = document.querySelector("p");
  try {
    const login = await fetch(api + "/login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ username: "alice", password: "password" }),
    });
    const { token } = await login.json();
    const answer = await fetch(api + "/protected-resource", { headers: { authorization: "Bearer " + token } });
    out.textContent = answer.status + " " + (await answer.json()).message;
  } catch (error) {
    out.textContent = "refused: " + error.name;
  }
})();
</script>`;

describe("pages of other origins", () => {
  let server;
  let addresses;

  before(async () => {
    server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(OTHER_PAGE));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const file = join(mkdtempSync(join(tmpdir(), "latchkey-page-")), "other-page.html");
    writeFileSync(file, OTHER_PAGE);
    addresses = { "another port": `http://127.0.0.1:${server.address().port}/`, "a file": pathToFileURL(file).href };
  });

  after(() => server.close());

  const said = async (address, api) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${address}#api=${encodeURIComponent(api)}`);
    await page.waitForFunction(() => document.querySelector("p").textContent !== "not yet", null, { timeout: TIMEOUT });
    const text = await page.textContent("p");
    await context.close();
    return text;
  };

  test("a script elsewhere can read when to try again", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(addresses["another port"]);
    const tried = (api) => page.evaluate(async ([api, body]) => {
      const answer = await fetch(`${api}/login`, { method: "POST", body });
      return [answer.status, answer.headers.get("retry-after"), (await answer.json()).retry_after];
    }, [api, JSON.stringify({ username: `guessed-${process.pid}`, password: "no" })]);
    let answer = await tried(BASE_URL);
    for (let attempts = 1; answer[0] === 401 && attempts < 20; attempts += 1) answer = await tried(BASE_URL);
    const [status, header, member] = answer;
    await context.close();
    assert.equal(status, 429);
    assert.ok(Number.isInteger(member) && member > 0, `${member}`);
    assert.equal(header, `${member}`);
  });

  test("a hostile page in a visitor's browser uses up none of the visitor's attempts", async () => {
    const username = `visitor-${process.pid}`;
    const body = JSON.stringify({ username, password: PASSWORD });
    const registered = await fetch(`${DEPLOYED_URL}/register`, { method: "POST", body });
    assert.equal(registered.status, 201);
    const context = await browser.newContext();
    const page = await context.newPage();
    const statuses = [];
    context.on("response", (answer) => {
      if (answer.url().startsWith(DEPLOYED_URL)) statuses.push(answer.status());
    });
    await page.goto(addresses["another port"]);
    await page.evaluate(async ([api, body]) => {
      const guess = () => fetch(`${api}/login`, { method: "POST", mode: "no-cors", body }).catch(() => {});
      await Promise.all(Array.from({ length: 40 }, guess));
    }, [DEPLOYED_URL, JSON.stringify({ username, password: "a guess" })]);
    await context.close();
    assert.deepEqual(statuses, Array(40).fill(403));
    // From the same address, on a device that is not known.
    const login = await fetch(`${DEPLOYED_URL}/login`, { method: "POST", body });
    assert.equal(login.status, 200);
  });

  for (const from of ["another port", "a file"]) {
    test(`a page from ${from} can neither log a visitor in nor register one, whatever the browser lets it send`, async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      const statuses = [];
      context.on("response", (answer) => {
        if (answer.url().startsWith(DEPLOYED_URL)) statuses.push(`${answer.status()} ${new URL(answer.url()).pathname}`);
      });
      await page.goto(addresses[from]);
      const username = `sent-elsewhere-${process.pid}-${from.length}`;
      const body = JSON.stringify({ username, password: PASSWORD });
      await page.evaluate(async ([api, body]) => {
        for (const path of ["/register", "/login"]) {
          await fetch(api + path, { method: "POST", mode: "no-cors", body }).catch(() => {});
        }
      }, [DEPLOYED_URL, body]);
      // The way of before `fetch`: a form whose one field is the JSON around a harmless member.
      await page.evaluate(([api, username, password]) => {
        const form = Object.assign(document.createElement("form"), { method: "post", enctype: "text/plain", action: `${api}/register` });
        const name = `{"username":"${username}","password":"${password}`;
        form.append(Object.assign(document.createElement("input"), { name, value: '"}' }));
        document.body.append(form);
        form.submit();
      }, [DEPLOYED_URL, username, PASSWORD]);
      await page.waitForURL(`${DEPLOYED_URL}/register`);
      await context.close();
      assert.deepEqual(statuses, ["403 /register", "403 /login", "403 /register"]);
      const login = await fetch(`${DEPLOYED_URL}/login`, { method: "POST", body });
      assert.equal(login.status, 401, "there is no account");
    });
    test(`a page from ${from} may call the API of a laptop`, async () => {
      assert.match(await said(addresses[from], BASE_URL), /^200 Hello, alice!/);
    });
    test(`a page from ${from} may not call a deployed API that does not list it`, async () => {
      assert.equal(await said(addresses[from], DEPLOYED_URL), "refused: TypeError");
    });
  }
});
