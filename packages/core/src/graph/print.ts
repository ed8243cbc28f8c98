/** Programs as text. */
import { formatShape, isDense, sizeOf } from './layout.js';
import type { Operand, Program, Value } from './program.js';

function typeText(value: Value): string {
  return `${value.dtype}${formatShape(value.shape)}`;
}

/** One line a node: `%3: float32[2, 4] = add(%1, %2[2, 4; 0, 1])`; a view shows shape; strides; offset if any. */
export function printProgram(program: Program, indent = ''): string {
  const names = new Map<Value, string>();
  const name = (v: Value): string => {
    let text = names.get(v);
    if (text === undefined) {
      text = `%${names.size}`;
      names.set(v, text);
    }
    return text;
  };
  const use = ({ value, layout }: Operand): string => {
    const { shape, strides, offset } = layout;
    const whole = offset === 0 && isDense(layout) && sizeOf(shape) === sizeOf(value.shape);
    if (whole && shape.join() === value.shape.join()) return name(value);
    if (whole) return `${name(value)}${formatShape(shape)}`;
    return `${name(value)}[${shape.join(', ')}; ${strides.join(', ')}${offset === 0 ? '' : `; +${offset}`}]`;
  };
  const lines = [`${indent}${program.name}(${program.inputs.map((v) => `${name(v)}: ${typeText(v)}`).join(', ')})`];
  for (const node of program.nodes) {
    const outs = node.outputs.map((v) => `${name(v)}: ${typeText(v)}`).join(', ');
    const attrs = Object.keys(node.attrs).length > 0 ? ` ${JSON.stringify(node.attrs)}` : '';
    lines.push(
      `${indent}  ${outs} = ${node.primitive.name}(${node.inputs.map(use).join(', ')})${attrs}${node.scope ? `  # ${node.scope}` : ''}`,
    );
    for (const sub of node.subprograms) lines.push(printProgram(sub, `${indent}    `));
  }
  lines.push(`${indent}  return ${program.outputs.map(use).join(', ')}`);
  for (const u of program.updates) lines.push(`${indent}  update ${name(program.inputs[u.input])} := ${use(u.value)}`);
  return lines.join('\n');
}
