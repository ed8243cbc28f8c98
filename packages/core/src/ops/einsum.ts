/** Einstein summation. */

import { promoteTypes } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { formatShape } from '../graph/layout.js';
import { loweredAll } from '../tensor/autocast.js';
import { composite } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './binary.js';
import { cast } from './cast.js';
import { contract } from './contract.js';
import { sum } from './reduce.js';
import { permute, reshape } from './view.js';
import { diagonal } from './view-slice.js';

/** A tensor whose axes have names (one letter, or a number for an axis under the ellipsis). */
interface Named {
  readonly tensor: Tensor;
  readonly names: readonly string[];
}

interface Equation {
  readonly inputs: readonly (readonly string[])[];
  /** Null: the letters that occur once, in alphabetic order, after the ellipsis. */
  readonly output: readonly string[] | null;
}

const ellipsis = '...';

function parseTerm(term: string, equation: string): string[] {
  const names: string[] = [];
  for (let i = 0; i < term.length; i++) {
    if (term.startsWith(ellipsis, i)) {
      if (names.includes(ellipsis)) throw syntaxError(equation, 'one ellipsis a term');
      names.push(ellipsis);
      i += 2;
    } else if (/[a-zA-Z]/.test(term[i])) names.push(term[i]);
    else throw syntaxError(equation, 'letters, commas, one "->" and "..."');
  }
  return names;
}
function syntaxError(equation: string, expected: string): ArgumentError {
  return new ArgumentError(`the equation '${equation}' is not understood`, { op: 'einsum', received: equation, expected });
}

function parse(equation: string): Equation {
  const [left, right, ...rest] = equation.replaceAll(' ', '').split('->');
  if (rest.length > 0) throw syntaxError(equation, 'at most one "->"');
  return {
    inputs: left.split(',').map((term) => parseTerm(term, equation)),
    output: right === undefined ? null : parseTerm(right, equation),
  };
}

/** Names the axes under an ellipsis by their distance from its end. */
function expandEllipsis(names: readonly string[], rank: number): string[] {
  const at = names.indexOf(ellipsis);
  if (at < 0) return [...names];
  const count = Math.max(0, rank - (names.length - 1));
  return [...names.slice(0, at), ...ellipsisNames(count), ...names.slice(at + 1)];
}
function ellipsisNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(count - 1 - i));
}

function nameAxes(tensor: Tensor, term: readonly string[], equation: string): Named {
  const names = expandEllipsis(term, tensor.shape.length);
  if (names.length !== tensor.shape.length) {
    throw new ShapeError(`a tensor of shape ${formatShape(tensor.shape)} for the term '${term.join('')}' of '${equation}'`, {
      op: 'einsum',
      received: tensor.shape,
      expected: 'as many axes as letters',
    });
  }
  return takeDiagonals({ tensor, names });
}

/** Axes of one name become their diagonal, until every name is there once. */
function takeDiagonals(x: Named): Named {
  for (let i = 0; i < x.names.length; i++) {
    const j = x.names.indexOf(x.names[i], i + 1);
    if (j < 0) continue;
    if (x.tensor.shape[i] !== x.tensor.shape[j]) {
      throw new ShapeError(`axes of extents ${x.tensor.shape[i]} and ${x.tensor.shape[j]} share the letter '${x.names[i]}'`, {
        op: 'einsum',
        received: x.tensor.shape,
      });
    }
    const names = [...x.names.filter((_, k) => k !== i && k !== j), x.names[i]];
    return takeDiagonals({ tensor: diagonal(x.tensor, { dim1: i, dim2: j }), names });
  }
  return x;
}

/** Sums the axes that nobody else needs. */
function sumAlone(x: Named, needed: ReadonlySet<string>): Named {
  const alone = x.names.flatMap((name, axis) => (needed.has(name) ? [] : [axis]));
  if (alone.length === 0) return x;
  return { tensor: sum(x.tensor, alone), names: x.names.filter((name) => needed.has(name)) };
}

/** Drops axes of extent 1 that another operand broadcasts (ellipsis axes), where it is larger there. */
function dropBroadcast(x: Named, extents: ReadonlyMap<string, number>): Named {
  const kept = x.names.map((name, axis) => x.tensor.shape[axis] === extents.get(name));
  if (kept.every((k) => k)) return x;
  return {
    tensor: reshape(
      x.tensor,
      x.tensor.shape.filter((_, axis) => kept[axis]),
    ),
    names: x.names.filter((_, axis) => kept[axis]),
  };
}

/** The elementwise product over the union of names, where no axis is summed. */
function multiply(a: Named, b: Named, names: readonly string[]): Named {
  const align = (x: Named): Tensor => {
    const order = names.filter((name) => x.names.includes(name));
    const axes = order.map((name) => x.names.indexOf(name));
    const permuted = axes.every((axis, i) => axis === i) ? x.tensor : permute(x.tensor, axes);
    return reshape(
      permuted,
      names.map((name) => (x.names.includes(name) ? x.tensor.shape[x.names.indexOf(name)] : 1)),
    );
  };
  return { tensor: mul(align(a), align(b)), names };
}

function pair(left: Named, right: Named, needed: ReadonlySet<string>, order: readonly string[]): Named {
  const a = sumAlone(left, new Set([...needed, ...right.names]));
  const b = sumAlone(right, new Set([...needed, ...left.names]));
  const all = [...new Set([...a.names, ...b.names])];
  // The result's letters come in the order of the output; what is summed later goes first.
  const names = [...all.filter((n) => needed.has(n) && !order.includes(n)), ...order.filter((n) => all.includes(n) && needed.has(n))];
  if (names.length === all.length) return multiply(a, b, names);
  const label = (n: string): number => all.indexOf(n);
  const [x, y] = loweredAll([a.tensor, b.tensor]);
  return { tensor: contract(x, a.names.map(label), y, b.names.map(label), names.map(label)), names };
}

/**
 * Sums of products named by letters, as `torch.einsum`: `einsum('bij,bjk->bik', a, b)`. A letter that occurs twice in a term takes
 * the diagonal, letters missing in the output are summed, `...` stands for axes that broadcast. Without `->` the output has the
 * letters that occur once, in alphabetic order. More than two operands multiply from left to right.
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const { inputs, output } = parse(equation);
  if (inputs.length !== operands.length) {
    throw new ArgumentError(`'${equation}' names ${inputs.length} operands and ${operands.length} were given`, {
      op: 'einsum',
      expected: 'one tensor a term',
    });
  }
  return composite('einsum', () => {
    const dtype = operands.reduce((d, t) => promoteTypes(d, t.dtype), operands[0].dtype);
    const named = operands.map((t, i) => nameAxes(cast(t, dtype), inputs[i], equation));
    const extents = new Map<string, number>();
    for (const x of named) {
      x.names.forEach((name, axis) => {
        const [known, extent] = [extents.get(name) ?? 1, x.tensor.shape[axis]];
        if (known !== 1 && extent !== 1 && known !== extent) {
          throw new ShapeError(`axis '${name}' of '${equation}' has the extents ${known} and ${extent}`, {
            op: 'einsum',
            received: operands.map((t) => t.shape),
            expected: 'one extent a letter',
          });
        }
        extents.set(name, known === 1 ? extent : known);
      });
    }
    const hidden = Math.max(0, ...named.map((x) => x.names.filter((n) => /\d/.test(n)).length));
    const wanted = output === null ? implicitOutput(inputs, hidden) : output.flatMap((n) => (n === ellipsis ? ellipsisNames(hidden) : [n]));
    const missing = wanted.find((n) => !extents.has(n));
    if (missing !== undefined || new Set(wanted).size !== wanted.length)
      throw syntaxError(equation, 'output letters that occur in the input, each once');
    let current = dropBroadcast(named[0], extents);
    for (let i = 1; i < named.length; i++) {
      const needed = new Set([...wanted, ...named.slice(i + 1).flatMap((x) => x.names)]);
      current = pair(current, dropBroadcast(named[i], extents), needed, wanted);
    }
    current = sumAlone(current, new Set(wanted));
    const axes = wanted.map((n) => current.names.indexOf(n));
    const result = axes.every((axis, i) => axis === i) ? current.tensor : permute(current.tensor, axes);
    return operands.includes(result) ? mul(result, 1) : result;
  });
}

function implicitOutput(terms: readonly (readonly string[])[], hidden: number): string[] {
  const counts = new Map<string, number>();
  for (const name of terms.flat()) counts.set(name, (counts.get(name) ?? 0) + 1);
  const letters = [...counts.keys()].filter((name) => name !== ellipsis && counts.get(name) === 1).sort();
  return [...ellipsisNames(hidden), ...letters];
}
