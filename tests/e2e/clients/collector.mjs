// collector.mjs FILE - an OTLP/HTTP collector: prints its URL, then appends the
// body of every post to FILE, a line each. Ends with its standard input.
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    appendFileSync(process.argv[2], JSON.stringify(JSON.parse(body)) + "\n");
    response.setHeader("Content-Type", "application/json").end("{}");
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/v1/traces`));
process.stdin.on("end", () => process.exit(0)).resume();
