// Evaluates flags with OpenFeature's SDK for servers. Arguments: URL and token of an
// edge. Standard input: a list of {flag, fallback, subject}; standard output: the
// evaluation details of each.
import { text } from "node:stream/consumers";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

const [baseUrl, token] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers: [["Authorization", `Bearer ${token}`]] }));
const client = OpenFeature.getClient();

const methods = { boolean: "getBooleanDetails", string: "getStringDetails", number: "getNumberDetails", object: "getObjectDetails" };
const details = [];
for (const { flag, fallback, subject } of JSON.parse(await text(process.stdin))) {
  const context = subject === "" ? {} : { targetingKey: subject, plan: "gold" };
  details.push(await client[methods[typeof fallback]](flag, fallback, context));
}
console.log(JSON.stringify(details));
