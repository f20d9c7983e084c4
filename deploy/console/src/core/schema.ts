// Reading a JSON Schema for a form. Whether data fit is for the service to say (POST /command-types/{type}/validate).
import type { JsonSchema } from "../api/shapes";

/** The schema behind references and optional forms: of anyOf the first that is not null. */
export function resolved(schema: JsonSchema, root: JsonSchema): JsonSchema {
  if (schema.$ref) {
    const name = schema.$ref.slice(schema.$ref.lastIndexOf("/") + 1);
    const found = root.$defs?.[name];
    return found ? resolved({ ...found, ...(schema.description ? { description: schema.description } : {}) }, root) : {};
  }
  const options = schema.anyOf ?? schema.oneOf;
  if (options) {
    const real = options.filter((each) => each.type !== "null");
    if (real.length === 1) return { ...resolved(real[0]!, root), ...(schema.description ? { description: schema.description } : {}) };
    return real.length ? { ...schema, ...resolved(real[0]!, root) } : {};
  }
  return schema;
}

export function kindOf(schema: JsonSchema): string {
  if (schema.enum) return "enum";
  const type = Array.isArray(schema.type) ? schema.type.find((each) => each !== "null") : schema.type;
  return type ?? (schema.properties ? "object" : "json");
}

/** What a form begins with: required members, empty. */
export function blank(schema: JsonSchema, root: JsonSchema): unknown {
  const found = resolved(schema, root);
  switch (kindOf(found)) {
    case "object":
      return Object.fromEntries((found.required ?? []).map((name) => [name, blank(found.properties?.[name] ?? {}, root)]));
    case "array":
      return [blank(found.items ?? {}, root)];
    case "boolean":
      return false;
    case "enum":
      return found.enum![0];
    case "integer":
    case "number":
      return found.minimum ?? 1;
    default:
      return "";
  }
}
