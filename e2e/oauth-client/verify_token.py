"""PyJWT verifies an access token with nothing but the key set's address.

Arguments: the base URL, the token. It ends with 0 if the token is accepted and a changed one is refused.
"""

import sys

import jwt

base_url, token = sys.argv[1:]
header = jwt.get_unverified_header(token)
issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
key = jwt.PyJWKClient(f"{base_url}/.well-known/jwks.json").get_signing_key_from_jwt(token)


def verify(text):
    return jwt.decode(text, key, algorithms=[header["alg"]], audience="latchkey", issuer=issuer)


assert header["typ"] == "at+jwt"
assert verify(token)["iss"] == issuer

# Another character in the middle of the signature.
message, _, signature = token.rpartition(".")
middle = len(signature) // 2
other = "B" if signature[middle] == "A" else "A"
try:
    verify(f"{message}.{signature[:middle]}{other}{signature[middle + 1:]}")
except jwt.InvalidSignatureError:
    print(f"PyJWT {header['alg']} ok")
else:
    sys.exit("a changed token was accepted")
