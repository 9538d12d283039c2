// The authorizer of the classic article: jsonwebtoken, and a denylist in DynamoDB by the AWS SDK. The client is made outside of
// the handler and keeps its connection, as AWS recommends.
"use strict";

const { DynamoDBClient, GetItemCommand } = require("@aws-sdk/client-dynamodb");
const jwt = require("jsonwebtoken");
const { run } = require("./runtime.js");

const client = new DynamoDBClient({});

run(async (event) => {
  const [scheme, token] = (event.headers.authorization ?? "").split(" ");
  if (scheme !== "Bearer") return { isAuthorized: false };
  let claims;
  try {
    claims = jwt.verify(token, process.env.JWT_SECRET, { algorithms: ["HS256"] });
  } catch {
    return { isAuthorized: false };
  }
  const revoked = await client.send(
    new GetItemCommand({ TableName: process.env.DENYLIST_TABLE_NAME, Key: { jti: { S: claims.jti } } }),
  );
  if (revoked.Item) return { isAuthorized: false };
  return { isAuthorized: true, context: { sub: claims.sub } };
});
