// The viewer over this service's own description; nothing is asked of anybody else, and keys stay in this tab's memory.
SwaggerUIBundle({
  dom_id: "#viewer",
  url: "openapi.json",
  validatorUrl: null,
  deepLinking: true,
  persistAuthorization: false,
});
