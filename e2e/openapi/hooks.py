"""What schemathesis cannot find out: how to get a token.

The user's sessions end while requests are made (`/logout`, `DELETE /sessions/{sid}`, `/password`), so an invalid token is
replaced by a new one. Without LATCHKEY_USERNAME nobody is signed in.
"""

import os

import requests
import schemathesis

TIMEOUT = 40
# That of the examples in openapi.yaml, which change the password. So this device stays known, and random logins from the
# same address do not lock it out.
DEVICE_TOKEN = "pHg-9_W5v3ZwEtF6p_owOA"


class AccessToken:
    """The access token of a session that has not ended."""

    def __init__(self):
        # The examples of openapi.yaml change the first to the second.
        self.passwords = [os.environ["LATCHKEY_PASSWORD"], os.environ["LATCHKEY_NEW_PASSWORD"]]
        self.base_url = os.environ["LATCHKEY_BASE_URL"]
        self.token = None

    def get(self, case, context):
        if self.token is None or not self.counts():
            self.token = self.log_in()
        return self.token

    def set(self, case, data, context):
        if case.operation.definition.raw.get("security") == []:
            return
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"

    def counts(self):
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.get(f"{self.base_url}/me", headers=headers, timeout=TIMEOUT).status_code == 200

    def log_in(self):
        for password in list(self.passwords):
            body = {"username": os.environ["LATCHKEY_USERNAME"], "password": password, "device_token": DEVICE_TOKEN}
            answer = requests.post(f"{self.base_url}/login", json=body, timeout=TIMEOUT)
            if answer.status_code == 200:
                return answer.json()["access_token"]
            self.passwords.reverse()
        raise RuntimeError(f"nobody can log in: {answer.status_code} {answer.text}")


if "LATCHKEY_USERNAME" in os.environ:
    schemathesis.auth(refresh_interval=None)(AccessToken)


@schemathesis.check
def unknown_route(ctx, response, case):
    """A method that a path does not have is not a route: 404, where `unsupported_method` expects 405."""
    described = case.operation.schema.raw_schema["paths"][case.operation.path]
    if response.request.method.lower() not in described and response.request.method != "OPTIONS":
        assert response.status_code == 404, f"{response.request.method} is {response.status_code}"
        assert response.json() == {"message": "Not Found"}
