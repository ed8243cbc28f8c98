/** Tensors as text, laid out as PyTorch does: aligned columns, long tensors shortened, scientific notation where needed. */
import { isFloat } from '../dtype.js';
import { sizeOf, sliceLayout } from '../graph/layout.js';
import { currentTrace } from '../graph/trace.js';
import { readSync } from './dispatch.js';
import type { HostValue, NestedValues } from './host.js';
import { nest } from './host.js';
import { Tensor } from './tensor.js';

/** Digits after the point. */
const precision = 4;
/** Elements above which a tensor is shortened, and how many are shown at each end of an axis then. */
const threshold = 1000;
const edgeItems = 3;
const lineWidth = 80;
const prefix = 'tensor(';

interface ElementFormat {
  readonly width: number;
  format(value: HostValue): string;
}

/** `x.toFixed(4)`, but exact halves go to the even digit, as C's printf does. */
function fixed(x: number): string {
  const scale = 10 ** precision;
  const doubled = x * 2 * scale;
  if (Math.abs(x) < 1e6 && Number.isInteger(doubled) && doubled % 2 !== 0) {
    const below = Math.floor(x * scale);
    return ((below % 2 === 0 ? below : below + 1) / scale).toFixed(precision);
  }
  return x.toFixed(precision);
}

/** At least two digits in the exponent. */
function scientific(x: number): string {
  const text = x.toExponential(precision);
  return text.replace(/e([+-])(\d)$/, 'e$10$2');
}

function plain(x: HostValue): string {
  if (typeof x !== 'number' || Number.isFinite(x)) return String(x);
  return Number.isNaN(x) ? 'nan' : x > 0 ? 'inf' : '-inf';
}

function formatFor(values: readonly HostValue[], float: boolean): ElementFormat {
  if (!float) {
    const width = values.reduce<number>((most, value) => Math.max(most, String(value).length), 1);
    return { width, format: (value) => String(value).padStart(width) };
  }
  const finite = values.map(Number).filter((value) => Number.isFinite(value) && value !== 0);
  const whole = finite.every(Number.isInteger);
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const value of finite) {
    least = Math.min(least, Math.abs(value));
    most = Math.max(most, Math.abs(value));
  }
  const useScientific = finite.length > 0 && (most / least > 1000 || most > 1e8 || (!whole && least < 1e-4));
  const wholeText = (x: number) => (Math.abs(x) < 1e21 ? plain(x) : BigInt(x).toString());
  const unsigned = useScientific ? scientific : whole ? (x: number) => `${wholeText(x)}.` : fixed;
  // JavaScript prints -0 without its sign.
  const text = (x: number) => (Object.is(x, -0) ? `-${unsigned(0)}` : unsigned(x));
  const width = finite.reduce((longest, value) => Math.max(longest, text(value).length), 1);
  const format = (value: HostValue) => (Number.isFinite(value) ? text(Number(value)) : plain(value)).padStart(width);
  return { width, format };
}

/** First and last elements of long axes, as nested arrays; an ellipsis stands at `edgeItems`. */
function edges(t: Tensor, axis: number): NestedValues {
  const extent = t.shape[axis];
  if (axis === t.shape.length) return nest(readSync(t), t.shape, t.dtype);
  if (extent <= 2 * edgeItems) return edges(t, axis + 1);
  const part = (start: number) => {
    const layout = sliceLayout(t, axis, start, edgeItems, 1);
    using piece = new Tensor(t.storage, layout.shape, layout.strides, layout.offset);
    return edges(piece, axis + 1);
  };
  return joinAt(part(0), part(extent - edgeItems), axis);
}

function joinAt(a: NestedValues, b: NestedValues, axis: number): NestedValues {
  if (!Array.isArray(a) || !Array.isArray(b)) return a;
  return axis === 0 ? [...a, ...b] : a.map((part, i) => joinAt(part, b[i], axis - 1));
}

function flat(values: NestedValues): HostValue[] {
  return Array.isArray(values) ? values.flatMap(flat) : [values];
}

function render(values: NestedValues, shape: readonly number[], format: ElementFormat, indent: number, shortened: boolean): string {
  if (!Array.isArray(values)) return format.format(values);
  const cut = shortened && shape[0] > 2 * edgeItems;
  if (shape.length === 1) {
    const texts = values.map((value) => (Array.isArray(value) ? '' : format.format(value)));
    if (cut) texts.splice(edgeItems, 0, ' ...');
    const perLine = Math.max(1, Math.floor((lineWidth - indent) / (format.width + 2)));
    const lines: string[] = [];
    for (let i = 0; i < texts.length; i += perLine) lines.push(texts.slice(i, i + perLine).join(', '));
    return `[${lines.join(`,\n${' '.repeat(indent + 1)}`)}]`;
  }
  const parts = values.map((value) => render(value, shape.slice(1), format, indent + 1, shortened));
  if (cut) parts.splice(edgeItems, 0, '...');
  return `[${parts.join(`,${'\n'.repeat(shape.length - 1)}${' '.repeat(indent + 1)}`)}]`;
}

/** `tensor([[1., 2.]], dtype=float64, requiresGrad=true)`: what eval of PyTorch's own text would show, in camelCase. */
export function formatTensor(t: Tensor): string {
  const size = sizeOf(t.shape);
  const suffixes: string[] = [];
  let body: string;
  if (t.isDisposed) return `tensor(<disposed>, shape=[${t.shape.join(', ')}], dtype=${t.dtype})`;
  if (currentTrace() !== null || t.storage.trace !== null) return `tensor(<traced>, shape=[${t.shape.join(', ')}], dtype=${t.dtype})`;
  if (size === 0) {
    body = '[]';
    if (t.shape.length !== 1) suffixes.push(`shape=[${t.shape.join(', ')}]`);
    if (t.dtype !== 'float32') suffixes.push(`dtype=${t.dtype}`);
  } else {
    const shortened = size > threshold;
    const values = shortened ? edges(t, 0) : nest(readSync(t), t.shape, t.dtype);
    body = render(values, t.shape, formatFor(flat(values), isFloat(t.dtype)), prefix.length, shortened);
    if (t.dtype !== 'float32' && t.dtype !== 'int64' && t.dtype !== 'bool') suffixes.push(`dtype=${t.dtype}`);
  }
  if (t.gradFn !== null) suffixes.push(`gradFn=<${t.gradFn.name}>`);
  else if (t.requiresGrad) suffixes.push('requiresGrad=true');
  return addSuffixes(prefix + body, suffixes);
}

function addSuffixes(text: string, suffixes: readonly string[]): string {
  let result = text;
  let lastLine = text.length - text.lastIndexOf('\n') + 1;
  for (const suffix of suffixes) {
    if (lastLine + suffix.length + 2 > lineWidth) {
      result += `,\n${' '.repeat(prefix.length)}${suffix}`;
      lastLine = prefix.length + suffix.length;
    } else {
      result += `, ${suffix}`;
      lastLine += suffix.length + 2;
    }
  }
  return `${result})`;
}
