// The login of the classic article: a user from DynamoDB, Argon2id as Latchkey has it, a token of HS256.
"use strict";

const { DynamoDBClient, GetItemCommand } = require("@aws-sdk/client-dynamodb");
const { verify } = require("@node-rs/argon2");
const crypto = require("node:crypto");
const jwt = require("jsonwebtoken");
const { run } = require("./runtime.js");

const client = new DynamoDBClient({});

run(async (event) => {
  const { username, password } = JSON.parse(event.body);
  const answer = await client.send(
    new GetItemCommand({ TableName: process.env.PEER_USERS_TABLE_NAME, Key: { username: { S: username } } }),
  );
  const user = answer.Item;
  if (!user || !(await verify(user.hash.S, password))) return { statusCode: 401, body: "{}" };
  const token = jwt.sign({ sub: username, jti: crypto.randomUUID() }, process.env.JWT_SECRET, { expiresIn: "15m" });
  return { statusCode: 200, body: JSON.stringify({ token }) };
});
