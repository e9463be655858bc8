/** JSON values as YAML that people read: what needs no quotes has none. Only for what the API gives, so without anchors and the like. */

const PLAIN = /^[A-Za-z_./][A-Za-z0-9_ ./+%@*()=;,-]*$/;
const WORDS = /^(?:true|false|yes|no|on|off|null|y|n|~)$/i;
const NUMBER = /^[-+.]?[0-9][0-9_.eE+-]*$/;

const SURE = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|[KMG]iB|%)|https?:\/\/[A-Za-z0-9_.\/:-]*[A-Za-z0-9_\/])$/;

const text = (value) => (SURE.test(value) || (PLAIN.test(value) && !WORDS.test(value) && !NUMBER.test(value) && !/\s$/.test(value) && !value.startsWith("---")) ? value : JSON.stringify(value));

const flat = (value) => (typeof value === "string" ? text(value) : JSON.stringify(value));

const short = (value) => value.every((one) => one === null || typeof one !== "object") && value.map(flat).join(", ").length < 90;

/** @param {any} value  @returns {string[]} */
function lines(value, depth) {
  const pad = "  ".repeat(depth);
  if (Array.isArray(value))
    return value.flatMap((one) => {
      if (one === null || typeof one !== "object") return [`${pad}- ${flat(one)}`];
      const [first, ...rest] = lines(one, depth + 1);
      return [`${pad}- ${(first ?? "{}").trimStart()}`, ...rest];
    });
  return Object.entries(value).flatMap(([name, one]) => {
    const head = `${pad}${text(name)}:`;
    if (one === null || typeof one !== "object") return [`${head} ${flat(one)}`];
    if (Array.isArray(one) && short(one)) return [`${head} [${one.map(flat).join(", ")}]`];
    if (!Object.keys(one).length) return [`${head} {}`];
    return [head, ...lines(one, depth + 1)];
  });
}

export const toYaml = (value) => `${lines(value, 0).join("\n")}\n`;
