/** A Program as a TensorFlow GraphDef, for TensorBoard's graph page. */
import type { DType } from '../../dtype.js';
import type { Program, Value } from '../../graph/program.js';
import { parseScope } from '../../tensor/module-path.js';
import { Message } from './protobuf.js';
import { tfShape, tfType } from './summaries.js';

const dtypeNumber = tfType satisfies Record<DType, number>;

/** Node names in GraphDefs: letters, digits and `_.-/`; the first one a letter, digit or dot. */
function clean(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9_.\-/]/g, '_');
  return /^[A-Za-z0-9.]/.test(safe) ? safe : `n${safe}`;
}

function nodeDef(name: string, op: string, inputs: readonly string[], outputs: readonly Value[], attrs = '{}'): Message {
  const node = new Message().string(1, name).string(2, op);
  for (const input of inputs) node.string(3, input);
  // In the order of their keys, as the reference implementation writes maps.
  const shapes = new Message();
  for (const { shape } of outputs) shapes.message(7, tfShape(shape));
  node.entry(5, '_output_shapes', new Message().message(1, shapes));
  if (attrs !== '{}') node.entry(5, 'attrs', new Message().string(2, attrs.slice(0, 1000)));
  node.entry(5, 'dtype', new Message().int(6, dtypeNumber[outputs[0].dtype]));
  return node;
}

/**
 * Nodes are grouped by the path of the module that made them. `names` names inputs (parameters, arguments) by their place;
 * others are `input_k`.
 */
export function graphDef(program: Program, names: ReadonlyMap<number, string> = new Map()): Uint8Array {
  const graph = new Message();
  const taken = new Map<string, number>();
  const unique = (wanted: string): string => {
    const name = clean(wanted);
    const count = taken.get(name) ?? 0;
    taken.set(name, count + 1);
    return count === 0 ? name : unique(`${name}_${count}`);
  };
  const produced = new Map<Value, string>();
  program.inputs.forEach((value, i) => {
    const name = unique((names.get(i) ?? `input_${i}`).replaceAll('.', '/'));
    produced.set(value, name);
    graph.message(1, nodeDef(name, /^input_?\d+$/.test(name) ? 'Placeholder' : 'Parameter', [], [value]));
  });
  const inputOf = (value: Value): string => produced.get(value) ?? 'unknown';
  for (const { primitive, scope, inputs, outputs, attrs } of program.nodes) {
    const { path, backward } = parseScope(scope);
    const group = [...(path === '' ? [] : path.split('.')), ...(backward ? ['backward'] : [])];
    const name = unique([...group, primitive.name].join('/'));
    outputs.forEach((value, k) => produced.set(value, k === 0 ? name : `${name}:${k}`));
    graph.message(
      1,
      nodeDef(
        name,
        primitive.name,
        inputs.map((o) => inputOf(o.value)),
        outputs,
        JSON.stringify(attrs),
      ),
    );
  }
  program.outputs.forEach(({ value }, i) => {
    graph.message(1, nodeDef(unique(`output_${i}`), 'Output', [inputOf(value)], [value]));
  });
  // VersionDef.producer: the version of the format.
  return graph.message(4, new Message().int(1, 22)).finish();
}
