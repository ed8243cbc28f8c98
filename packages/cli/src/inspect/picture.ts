/** The picture of an ONNX graph: what flows from the inputs to the outputs; constants and the arithmetic of shapes stay out of it. */
import { type AttributeModel, elementTypes, type ModelModel, type NodeModel } from '@trireme/onnx';
import { categoryOf } from './category.js';
import {
  bodiesOf,
  elementsOf,
  givenInputs,
  type Inspection,
  nodeFlops,
  operatorName,
  shapeFinder,
  shapeOf,
  shapeText,
  typeText,
  type Walk,
} from './inspection.js';
import type { Picture, PictureLink, PictureNode } from './page.js';

/** `12.3 M`, and small whole numbers as they are. */
export function amount(value: number, step = 1000, units = ['', ' k', ' M', ' G', ' T', ' P']): string {
  let [rest, unit] = [value, 0];
  while (rest >= step && unit < units.length - 1) {
    rest /= step;
    unit++;
  }
  return `${unit === 0 ? rest : rest.toPrecision(3)}${units[unit]}`;
}
export function byteText(bytes: number): string {
  return amount(bytes, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
}

const shorten = (text: string, length = 160): string => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

function attributeText(attribute: AttributeModel): string {
  switch (attribute.kind) {
    case 'float':
      return String(Number(attribute.value.toPrecision(7)));
    case 'floats':
      return shorten(attribute.value.map((value) => Number(value.toPrecision(7))).join(', '));
    case 'int':
    case 'string':
      return shorten(String(attribute.value));
    case 'ints':
    case 'strings':
      return shorten(attribute.value.join(', '));
    case 'tensor':
      return `${attribute.value.type} ${shapeText(attribute.value.dims)}`;
    case 'graph':
      return `graph of ${attribute.value.nodes.length} nodes`;
    case 'reference':
      return `attribute ${attribute.value} of the function`;
    case 'type':
      return typeText(attribute.value);
    default:
      return Array.isArray(attribute.value) ? `${attribute.value.length} ${attribute.kind}` : attribute.kind;
  }
}

/** Names of the parameters of common operators, by the place of the input. */
const parameterNames: Readonly<Record<string, readonly string[]>> = {
  Conv: ['X', 'W', 'B'],
  ConvTranspose: ['X', 'W', 'B'],
  Gemm: ['A', 'B', 'C'],
  MatMul: ['A', 'B'],
  BatchNormalization: ['X', 'scale', 'B', 'mean', 'var'],
  LayerNormalization: ['X', 'scale', 'B'],
  InstanceNormalization: ['X', 'scale', 'B'],
  GroupNormalization: ['X', 'scale', 'B'],
  Gather: ['data', 'indices'],
  PRelu: ['X', 'slope'],
};
/** What a card has room to say of attributes. */
const shownAttributes = ['kernel_shape', 'strides', 'group', 'axis', 'perm', 'to', 'equation'];

class Drawer {
  readonly nodes: PictureNode[] = [];
  readonly links: PictureLink[] = [];
  /** Number of the node that makes a value. */
  private readonly makers = new Map<string, number>();
  private readonly linked = new Set<string>();
  private readonly shapes: ReturnType<typeof shapeFinder>;
  private readonly waiting: Map<string, PictureNode>;
  private readonly model: ModelModel;
  private readonly walk: Walk;

  constructor(model: ModelModel, walk: Walk) {
    this.model = model;
    this.walk = walk;
    this.shapes = shapeFinder(model, walk);
    this.waiting = new Map(
      givenInputs(model.graph).map(({ name, type }) => [
        name,
        {
          title: name,
          lines: [`${typeText(type)} ${shapeText(shapeOf(type))}`],
          category: 'io',
          details: [
            ['input', name],
            ['type', typeText(type)],
            ['shape', shapeText(shapeOf(type))],
          ],
        },
      ]),
    );
  }

  draw(): void {
    const { graph } = this.model;
    const results = new Set(graph.outputs.map(({ name }) => name));
    for (const node of graph.nodes) if (!this.isHidden(node, results)) this.drawNode(node);
    for (const name of this.waiting.keys()) this.maker(name);
    for (const { name, type } of graph.outputs) {
      const index = this.nodes.length;
      const shape = this.shapes(name);
      this.nodes.push({
        title: name,
        lines: [`${typeText(type)} ${shapeText(shapeOf(type) ?? shape ?? null)}`],
        category: 'io',
        details: [
          ['output', name],
          ['type', typeText(type)],
          ['shape', shapeText(shapeOf(type))],
        ],
      });
      this.link(name, index);
    }
  }

  /** Nodes whose results are known without running: they would hide what matters. */
  private isHidden(node: NodeModel, results: ReadonlySet<string>): boolean {
    const made = node.outputs.filter((name) => name !== '');
    if (made.some((name) => results.has(name))) return false;
    return node.opType === 'Constant' || (made.length > 0 && made.every((name) => this.walk.get(name)?.isKnown === true));
  }

  /** The node that makes a value; an input is drawn where it is first used. */
  private maker(name: string): number | undefined {
    const input = this.waiting.get(name);
    if (input !== undefined) {
      this.waiting.delete(name);
      this.makers.set(name, this.nodes.length);
      this.nodes.push(input);
    }
    return this.makers.get(name);
  }

  private link(name: string, to: number): void {
    const from = this.makers.get(name);
    if (from === undefined || this.linked.has(`${from} ${to}`)) return;
    this.linked.add(`${from} ${to}`);
    const shape = this.shapes(name);
    // Cards of inputs say their shape, and so do those of outputs.
    const isSaid = this.nodes[from].category === 'io' || this.nodes[to]?.category === 'io';
    this.links.push({ from, to, name, label: shape === undefined || isSaid ? '' : shapeText(shape) });
  }

  private valueText(name: string): string {
    const found = this.walk.get(name);
    const shape = this.shapes(name);
    return `${name}\n${found?.type ?? ''} ${shape === undefined ? '?' : shapeText(shape)}`;
  }

  private drawNode(node: NodeModel): void {
    const captured = bodiesOf(node).flatMap(([, body]) => body.nodes.flatMap(({ inputs }) => inputs));
    const used = [...node.inputs, ...captured].filter((name) => name !== '');
    for (const name of used) this.maker(name);
    const index = this.nodes.length;
    const constants = new Map(this.model.graph.initializers.map(({ name, dims }) => [name, dims]));
    const parameters = node.inputs.flatMap((name, k) => {
      const shape = constants.get(name);
      return shape === undefined ? [] : [{ name: parameterNames[node.opType]?.[k] ?? String(k), shape }];
    });
    const attributes = shownAttributes.flatMap((name) => {
      const attribute = node.attributes.get(name);
      if (attribute === undefined) return [];
      const text = attributeText(attribute);
      // The weights tell the kernel; strides and groups of 1 are nothing to tell.
      if (
        (name === 'kernel_shape' && parameters.length > 0) ||
        (name !== 'axis' && name !== 'perm' && /^1(, 1)*$/.test(text) && name !== 'to')
      )
        return [];
      return [`${name} ${name === 'to' ? (elementTypes[Number(text) - 1] ?? text) : text}`];
    });
    const bodies = bodiesOf(node).map(([name, body]) => `${name}: ${body.nodes.length} nodes`);
    const flops = nodeFlops(node, this.shapes);
    const elements = parameters.reduce((sum, { shape }) => sum + elementsOf(shape), 0);
    this.nodes.push({
      title: operatorName(node),
      lines: [
        ...parameters.slice(0, 3).map(({ name, shape }) => `${name} ${shapeText(shape)}`),
        ...attributes.slice(0, 2).map((line) => shorten(line, 34)),
        ...bodies,
      ],
      category: categoryOf(node.opType),
      details: [
        ['name', node.name === '' ? '—' : node.name],
        ...[...node.attributes].map(([name, attribute]) => [name, attributeText(attribute)] as const),
        ...node.inputs.flatMap((name, k) => (name === '' ? [] : [[`input ${k}`, this.valueText(name)] as const])),
        ...node.outputs.flatMap((name, k) => (name === '' ? [] : [[`output ${k}`, this.valueText(name)] as const])),
        ...(elements > 0 ? [['parameters', elements.toLocaleString('en')] as const] : []),
        ...(flops > 0 ? [['FLOPs', amount(flops)] as const] : []),
      ],
    });
    for (const name of used) this.link(name, index);
    for (const name of node.outputs) if (name !== '') this.makers.set(name, index);
  }
}

export function pictureOf(title: string, model: ModelModel, walk: Walk, inspection: Inspection, fileBytes: number): Picture {
  const drawer = new Drawer(model, walk);
  drawer.draw();
  const hidden = model.graph.nodes.length - drawer.nodes.filter(({ category }) => category !== 'io').length;
  const { parameters, flops, dims } = inspection;
  const io = (list: Inspection['inputs']): string[][] => list.map(({ name, type, shape }) => [name, type, shapeText(shape)]);
  return {
    title,
    facts: [
      ['parameters', parameters.elements.toLocaleString('en')],
      ['size', byteText(fileBytes)],
      ...(flops === null ? [] : [['FLOPs', amount(flops)] as const]),
      ...Object.entries(dims).map(([name, extent]) => [`${name} (for shapes and FLOPs)`, String(extent)] as const),
      ['nodes', hidden === 0 ? String(inspection.nodes) : `${inspection.nodes} (${hidden} of constants and shapes not drawn)`],
      ...Object.entries(inspection.opsets).map(([domain, version]) => [domain, `opset ${version}`] as const),
      ...(inspection.producer === '' ? [] : [['producer', inspection.producer] as const]),
    ],
    tables: [
      { title: 'Inputs', rows: io(inspection.inputs) },
      { title: 'Outputs', rows: io(inspection.outputs) },
      { title: 'Operators', rows: Object.entries(inspection.operators).map(([name, count]) => [name, String(count)]) },
    ],
    nodes: drawer.nodes,
    links: drawer.links,
  };
}
