/**
 * JSON Schema: whether a value holds to one, also while the value is still coming. A check for the reader's eyes; what
 * the server enforces is its own affair.
 *
 * Knows what schemas for answers use: `type enum const properties required additionalProperties items prefixItems` with
 * their limits, `pattern`, `anyOf oneOf allOf not`, and `$ref` inside the schema. Other keywords are passed over.
 */

/** Nested schemas, references included, beyond this depth are not looked into. */
const DEPTH_MAX = 64;
/** More problems than this help nobody. */
const PROBLEMS_MAX = 20;

/**
 * Where a value breaks its schema.
 * @param {unknown} schema
 * @param {unknown} value
 * @param {import("./json.js").Read | null} read for a value that is not whole: what is missing there is no problem yet
 * @returns {{ path: string, message: string }[]}
 */
export function problems(schema, value, read = null) {
  const check = new Check(schema, read);
  check.value(schema, value, "", 0);
  return check.problems.slice(0, PROBLEMS_MAX);
}

/** What is wrong with a schema itself, or `null`. */
export function schemaProblem(schema) {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema))
    return 'A schema is an object, such as { "type": "object" }.';
  const types = [schema.type ?? []].flat();
  const odd = types.find((type) => !Object.hasOwn(TYPES, type));
  if (odd !== undefined) return `There is no type “${odd}”; there are ${Object.keys(TYPES).join(", ")}.`;
  if (schema.properties !== undefined && !isObject(schema.properties))
    return "“properties” is an object of schemas.";
  if (schema.required !== undefined && !Array.isArray(schema.required))
    return "“required” is a list of names.";
  const inner = [...Object.values(schema.properties ?? {}), ...[schema.items ?? []].flat()].filter(
    (each) => typeof each !== "boolean",
  );
  return inner.map(schemaProblem).find((problem) => problem !== null) ?? null;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const TYPES = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
  boolean: (value) => typeof value === "boolean",
  null: (value) => value === null,
};

class Check {
  problems = [];

  constructor(root, read) {
    this.root = root;
    this.read = read;
  }

  #isOpen(value) {
    return this.read !== null && typeof value === "object" && value !== null && this.read.open.has(value);
  }

  /** Whether more may come to a scalar: only the last one of a text that is cut. */
  #mayGoOn(value) {
    return this.read?.isCut === true && typeof value !== "object";
  }

  #problem(path, message) {
    this.problems.push({ path: path || "the answer", message });
  }

  value(schema, value, path, depth) {
    if (schema === true || !isObject(schema) || depth > DEPTH_MAX || this.problems.length >= PROBLEMS_MAX) {
      if (schema === false) this.#problem(path, "may not be there");
      return;
    }
    if (schema.$ref !== undefined) this.value(this.#resolve(schema.$ref), value, path, depth + 1);
    if (!this.#type(schema, value, path)) return;
    this.#fixed(schema, value, path);
    if (typeof value === "string") this.#string(schema, value, path);
    if (typeof value === "number" && !this.#mayGoOn(value)) this.#number(schema, value, path);
    if (Array.isArray(value)) this.#list(schema, value, path, depth);
    if (isObject(value)) this.#object(schema, value, path, depth);
    this.#combined(schema, value, path, depth);
  }

  #resolve(reference) {
    if (typeof reference !== "string" || !reference.startsWith("#")) return true;
    const parts = reference
      .slice(1)
      .split("/")
      .slice(1)
      .map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
    return (
      parts.reduce((at, part) => (isObject(at) || Array.isArray(at) ? at[part] : undefined), this.root) ??
      true
    );
  }

  #type(schema, value, path) {
    if (schema.type === undefined) return true;
    const types = [schema.type].flat();
    const isIt = types.some((type) => TYPES[type]?.(value));
    if (!isIt) this.#problem(path, `wanted ${types.join(" or ")}, found ${nameOf(value)}`);
    return isIt;
  }

  #fixed(schema, value, path) {
    const isOpen = this.#isOpen(value) || this.#mayGoOn(value);
    const allowed = schema.enum ?? (Object.hasOwn(schema, "const") ? [schema.const] : null);
    if (!Array.isArray(allowed) || isOpen || allowed.some((each) => isSame(each, value))) return;
    this.#problem(
      path,
      `wanted one of ${allowed
        .map((each) => JSON.stringify(each))
        .join(", ")
        .slice(0, 200)}`,
    );
  }

  #string(schema, value, path) {
    const length = [...value].length;
    if (length > schema.maxLength) this.#problem(path, `longer than ${schema.maxLength}`);
    if (this.#mayGoOn(value)) return;
    if (length < schema.minLength) this.#problem(path, `shorter than ${schema.minLength}`);
    if (typeof schema.pattern === "string" && matches(schema.pattern, value) === false)
      this.#problem(path, `does not match ${schema.pattern}`);
  }

  #number(schema, value, path) {
    if (value < schema.minimum) this.#problem(path, `less than ${schema.minimum}`);
    if (value > schema.maximum) this.#problem(path, `more than ${schema.maximum}`);
    if (value <= schema.exclusiveMinimum) this.#problem(path, `not more than ${schema.exclusiveMinimum}`);
    if (value >= schema.exclusiveMaximum) this.#problem(path, `not less than ${schema.exclusiveMaximum}`);
    const count = value / schema.multipleOf;
    if (Math.abs(count - Math.round(count)) > 1e-9)
      this.#problem(path, `no multiple of ${schema.multipleOf}`);
  }

  #list(schema, value, path, depth) {
    if (value.length > schema.maxItems) this.#problem(path, `more than ${schema.maxItems} items`);
    if (value.length < schema.minItems && !this.#isOpen(value))
      this.#problem(path, `fewer than ${schema.minItems} items`);
    const first = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
    value.forEach((item, at) =>
      this.value(first[at] ?? schema.items ?? true, item, `${path}[${at}]`, depth + 1),
    );
    if (schema.uniqueItems === true && value.length < 1000) {
      const twice = value.findIndex((item, at) => value.slice(0, at).some((other) => isSame(item, other)));
      if (twice !== -1) this.#problem(`${path}[${twice}]`, "is there twice");
    }
  }

  #object(schema, value, path, depth) {
    const known = isObject(schema.properties) ? schema.properties : {};
    for (const name of Array.isArray(schema.required) ? schema.required : []) {
      if (!Object.hasOwn(value, name) && !this.#isOpen(value)) this.#problem(path, `“${name}” is missing`);
    }
    for (const [name, member] of Object.entries(value)) {
      const inner = path === "" ? name : `${path}.${name}`;
      if (Object.hasOwn(known, name)) this.value(known[name], member, inner, depth + 1);
      else if (schema.additionalProperties !== undefined)
        this.value(schema.additionalProperties, member, inner, depth + 1);
    }
  }

  #combined(schema, value, path, depth) {
    for (const each of Array.isArray(schema.allOf) ? schema.allOf : [])
      this.value(each, value, path, depth + 1);
    const fits = (each) => {
      const inner = new Check(this.root, this.read);
      inner.value(each, value, path, depth + 1);
      return inner.problems.length === 0;
    };
    const isOpen = this.#isOpen(value) || this.#mayGoOn(value);
    if (Array.isArray(schema.anyOf) && !schema.anyOf.some(fits))
      this.#problem(path, "fits none of the choices");
    if (Array.isArray(schema.oneOf)) {
      const count = schema.oneOf.filter(fits).length;
      if (count === 0) this.#problem(path, "fits none of the choices");
      else if (count > 1 && !isOpen) this.#problem(path, "fits more than one of the choices");
    }
    if (schema.not !== undefined && !isOpen && fits(schema.not)) this.#problem(path, "is what it may not be");
  }
}

function nameOf(value) {
  return Object.keys(TYPES).find((type) => type !== "number" && TYPES[type](value)) ?? typeof value;
}

/** Whether a text matches; `null` for a pattern that this browser does not understand. */
function matches(pattern, text) {
  try {
    return new RegExp(pattern, "u").test(text.slice(0, 10000));
  } catch {
    return null;
  }
}

function isSame(a, b) {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  const [names, others] = [Object.keys(a), Object.keys(b)];
  return (
    Array.isArray(a) === Array.isArray(b) &&
    names.length === others.length &&
    names.every((name) => Object.hasOwn(b, name) && isSame(a[name], b[name]))
  );
}
