// A page whose parts ask for flags with OpenFeature's SDK for React. The edge's URL
// is the page's parameter "edge".
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, OpenFeatureProvider, useBooleanFlagValue, useContextMutator, useStringFlagValue } from "@openfeature/react-sdk";
import { createElement, Suspense } from "react";
import { createRoot } from "react-dom/client";

const baseUrl = new URLSearchParams(location.search).get("edge");
await OpenFeature.setContext({ targetingKey: "42" });
OpenFeature.setProvider(new OFREPWebProvider({ baseUrl, cacheMode: "disabled" }));

function Shop() {
  const colour = useStringFlagValue("colour", "red", { suspend: true });
  const enabled = useBooleanFlagValue("switch", false, { suspend: true });
  const group = useStringFlagValue("overridden", "nothing", { suspend: true });
  const { setContext } = useContextMutator();
  return createElement(
    "p",
    { id: "shop" },
    `${colour} ${enabled} ${group} `,
    createElement("button", { onClick: () => setContext({ targetingKey: "43" }) }, "sign in as 43"),
  );
}

createRoot(document.getElementById("root")).render(
  createElement(OpenFeatureProvider, null, createElement(Suspense, { fallback: "…" }, createElement(Shop))),
);
