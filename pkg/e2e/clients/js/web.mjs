// A page that evaluates flags with OpenFeature's SDK for browsers. The test calls
// start, then evaluate and become.
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature } from "@openfeature/web-sdk";

const methods = { boolean: "getBooleanDetails", string: "getStringDetails", number: "getNumberDetails", object: "getObjectDetails" };

globalThis.start = async (baseUrl, token, subject) => {
  await OpenFeature.setContext({ targetingKey: subject });
  await OpenFeature.setProviderAndWait(
    new OFREPWebProvider({ baseUrl, headers: [["Authorization", `Bearer ${token}`]], cacheMode: "disabled" }),
  );
  return "started";
};
globalThis.become = async (subject) => {
  await OpenFeature.setContext({ targetingKey: subject });
  return "changed";
};
globalThis.evaluate = (rows) => {
  const client = OpenFeature.getClient();
  return JSON.stringify(rows.map(({ flag, fallback }) => client[methods[typeof fallback]](flag, fallback)));
};
