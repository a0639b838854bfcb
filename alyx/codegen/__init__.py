"""One description of the API from the schema, and what is rendered from it: OpenAPI now, typed clients later. Pure."""
