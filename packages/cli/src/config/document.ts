/** A YAML file whose values know where they stand. */
import { readFileSync } from 'node:fs';
import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parse, parseDocument } from 'yaml';
import { ConfigError, type Problem, reasonOf, UsageError } from '../errors.js';

export type KeyPath = readonly (string | number)[];

/** `model[0].Linear.inFeatures`. */
export function formatPath(path: KeyPath): string {
  return path.reduce<string>((text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`), '');
}

/** `model[0].Linear` and `model.0.Linear` as keys. @throws UsageError */
export function parsePath(text: string): KeyPath {
  const keys = text.split('.').flatMap((part) => {
    const match = /^([^[\]]*)((?:\[\d+\])*)$/.exec(part);
    if (match === null || part === '') throw new UsageError(`${text} is no key`, 'Write keys as in optimizer.lr or model[0].Linear.');
    const indices = [...match[2].matchAll(/\d+/g)].map(([digits]) => Number(digits));
    const name = /^\d+$/.test(match[1]) ? Number(match[1]) : match[1];
    return name === '' ? indices : [name, ...indices];
  });
  return keys;
}

/** A value given on the command line, as YAML reads it: numbers, true and false, null, [lists], {maps}; the rest is text. */
export function parseValue(text: string): unknown {
  if (text === '') return '';
  try {
    return parse(text, { maxAliasCount: 0 }) as unknown;
  } catch {
    // `a: b: c` and the like: text.
    return text;
  }
}

const largest = 16 * 2 ** 20;

/** One value of a configuration. */
export class ConfigValue {
  readonly path: KeyPath;
  private readonly document: ConfigDocument;
  private readonly node: Node | null;
  private readonly at: Node | null;

  constructor(document: ConfigDocument, node: Node | null, path: KeyPath, at: Node | null = node) {
    this.document = document;
    this.path = path;
    this.at = at;
    this.node = isAlias(node) ? (node.resolve(document.tree) ?? null) : node;
  }
  get key(): string {
    return formatPath(this.path);
  }
  get kind(): 'map' | 'list' | 'scalar' {
    return isMap(this.node) ? 'map' : isSeq(this.node) ? 'list' : 'scalar';
  }
  /** The value of a scalar: string, number, boolean or null. */
  get scalar(): unknown {
    return isScalar(this.node) ? this.node.value : null;
  }
  /** Key and value of a map; keys that are no text are written as text. */
  entries(): { readonly key: string; readonly keyPlace: ConfigValue; readonly value: ConfigValue }[] {
    if (!isMap(this.node)) return [];
    return this.node.items.map((pair) => {
      const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
      const path = [...this.path, key];
      const keyNode = isNode(pair.key) ? pair.key : null;
      const valueNode = isNode(pair.value) ? pair.value : null;
      return {
        key,
        keyPlace: new ConfigValue(this.document, valueNode, path, keyNode),
        value: new ConfigValue(this.document, valueNode, path, valueNode ?? keyNode),
      };
    });
  }
  items(): ConfigValue[] {
    if (!isSeq(this.node)) return [];
    return this.node.items.map((item, i) => new ConfigValue(this.document, isNode(item) ? item : null, [...this.path, i]));
  }
  /** The value as plain data, for messages. */
  describe(): string {
    if (this.kind === 'map') return 'a map';
    if (this.kind === 'list') return 'a list';
    return this.scalar === null ? 'nothing' : JSON.stringify(this.scalar);
  }
  /** A problem at this place. */
  problem(message: string, expected?: string, fix?: string): Problem {
    return { ...this.document.placeOf(this.at, this.path), message, expected, fix };
  }
}

export class ConfigDocument {
  readonly file: string;
  readonly tree: Document;
  private readonly lines: LineCounter;

  private constructor(file: string, tree: Document, lines: LineCounter) {
    this.file = file;
    this.tree = tree;
    this.lines = lines;
  }

  /** @throws ConfigError when it cannot be read, or is not YAML */
  static read(file: string): ConfigDocument {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (cause) {
      throw new ConfigError({ file, message: `could not be read (${reasonOf(cause)}).` }, cause);
    }
    if (text.length > largest) throw new ConfigError({ file, message: `has ${text.length} characters.`, expected: `at most ${largest}` });
    const lines = new LineCounter();
    const tree: Document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: false });
    if (tree.errors.length > 0) {
      throw new ConfigError(
        tree.errors.map((error) => {
          const { line, col } = lines.linePos(error.pos[0]);
          return { file, line, column: col, message: `${error.message.replace(/\.?$/, '.')}`, expected: 'YAML 1.2' };
        }),
      );
    }
    if (tree.contents === null || (isScalar(tree.contents) && tree.contents.value === null)) tree.contents = tree.createNode({});
    return new ConfigDocument(file, tree, lines);
  }

  /** Sets a value from the command line. @throws UsageError when the path leads through something that is no map or list */
  set(path: KeyPath, value: unknown): void {
    try {
      this.tree.setIn(path, this.tree.createNode(value));
    } catch (cause) {
      throw new UsageError(`${formatPath(path)} cannot be set: there is no map or list on the way (${reasonOf(cause)})`);
    }
  }

  get root(): ConfigValue {
    return new ConfigValue(this, this.tree.contents as Node | null, []);
  }

  placeOf(node: Node | null, path: KeyPath): Pick<Problem, 'file' | 'line' | 'column' | 'key'> {
    const key = formatPath(path);
    if (!node?.range) return { file: path.length === 0 ? this.file : `${this.file} with the options of the command line`, key };
    const { line, col } = this.lines.linePos(node.range[0]);
    return { file: this.file, line, column: col, key };
  }
  /** The place of the value at a path, or of the nearest one above it. */
  find(path: KeyPath): ConfigValue {
    for (let length = path.length; length > 0; length--) {
      const node = this.tree.getIn(path.slice(0, length), true);
      if (isNode(node)) return new ConfigValue(this, node, path.slice(0, length));
    }
    return this.root;
  }
}
