// Shows the OpenAPI document in the element that names its address, with Swagger UI or Redoc.
"use strict";

const page = document.getElementById("api-document");
if (page.dataset.kind === "redoc") {
  // The search needs a worker made from a blob, which the Content-Security-Policy refuses.
  Redoc.init(page.dataset.url, { disableSearch: true }, page);
} else {
  SwaggerUIBundle({
    url: page.dataset.url,
    domNode: page,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    validatorUrl: null,
  });
}
