/** Ensembles of decision trees. Walking a tree is a chain of decisions, so it happens on the host. */
import type { ElementType } from '../engine/element-type.js';
import { TensorValue } from '../engine/value.js';
import { numbersOf, tensorAt } from './arguments.js';
import type { OpContext, OpTable } from './definition.js';
import { type HostNumbers, hostArray } from './host.js';
import { classCount, labelsOf, largestPlaces, postTransformed } from './ml.js';
import { computed } from './tensors.js';

type Mode = 'LEQ' | 'LT' | 'GTE' | 'GT' | 'EQ' | 'NEQ' | 'MEMBER';
/** In the order of their numbers in TreeEnsemble. */
const modes: readonly Mode[] = ['LEQ', 'LT', 'GTE', 'GT', 'EQ', 'NEQ', 'MEMBER'];

/** What a leaf adds to one target. */
interface Vote {
  readonly target: number;
  readonly weight: number;
}
interface Leaf {
  readonly kind: 'leaf';
  readonly votes: readonly Vote[];
}
interface Branch {
  readonly kind: 'branch';
  readonly feature: number;
  readonly mode: Mode;
  readonly split: number;
  readonly members: ReadonlySet<number>;
  /** Where a missing feature (NaN) goes. */
  readonly missingIsTrue: boolean;
  /** Filled in when all nodes are known. */
  yes: TreeNode;
  no: TreeNode;
}
type TreeNode = Leaf | Branch;

type Aggregate = 'SUM' | 'AVERAGE' | 'MIN' | 'MAX';
const aggregates: readonly Aggregate[] = ['AVERAGE', 'SUM', 'MIN', 'MAX'];

function holds({ mode, split, members, missingIsTrue }: Branch, x: number): boolean {
  if (Number.isNaN(x) && missingIsTrue) return true;
  switch (mode) {
    case 'LEQ':
      return x <= split;
    case 'LT':
      return x < split;
    case 'GTE':
      return x >= split;
    case 'GT':
      return x > split;
    case 'EQ':
      return x === split;
    case 'NEQ':
      return x !== split;
    case 'MEMBER':
      return members.has(x);
    default:
      return mode satisfies never;
  }
}

/** The scores of every row, [rows, targets], row-major. */
function scoresOf(
  roots: readonly TreeNode[],
  x: TensorValue,
  targets: number,
  aggregate: Aggregate,
  base: readonly number[],
): Float64Array {
  const [rows, columns] = x.shape.length === 1 ? [1, x.shape[0]] : x.shape;
  const data = numbersOf(x);
  const scores = new Float64Array(rows * targets);
  const votedFor = new Uint8Array(targets);
  for (let row = 0; row < rows; row++) {
    votedFor.fill(0);
    for (const root of roots) {
      let node = root;
      while (node.kind === 'branch') node = holds(node, data[row * columns + node.feature]) ? node.yes : node.no;
      for (const { target, weight } of node.votes) {
        const at = row * targets + target;
        if (votedFor[target] === 0 || aggregate === 'SUM' || aggregate === 'AVERAGE') scores[at] += weight;
        else scores[at] = aggregate === 'MIN' ? Math.min(scores[at], weight) : Math.max(scores[at], weight);
        votedFor[target] = 1;
      }
    }
    for (let k = 0; k < targets; k++) {
      const at = row * targets + k;
      if (aggregate === 'AVERAGE') scores[at] /= roots.length;
      scores[at] += base.length === targets ? base[k] : (base[0] ?? 0) * Number(base.length === 1);
    }
  }
  return scores;
}

/** Numbers of an attribute that is a list of floats or, ending in `_as_tensor`, a tensor. */
function numbersAttribute(name: string, ctx: OpContext): readonly number[] {
  if (ctx.attrs.has(`${name}_as_tensor`)) return numbersOf(ctx.attrs.tensor(`${name}_as_tensor`));
  return ctx.attrs.floats(name, []);
}

/** Up to version 3: nodes with numbers of their own in each tree, and votes that name tree and node. */
function numberedTrees(prefix: 'target' | 'class', ctx: OpContext): TreeNode[] {
  const { attrs } = ctx;
  const ints = (name: string): readonly number[] => attrs.ints(`nodes_${name}`);
  const [trees, ids, featureIds, yes, no] = ['treeids', 'nodeids', 'featureids', 'truenodeids', 'falsenodeids'].map(ints);
  const names = attrs.strings('nodes_modes');
  const splits = numbersAttribute('nodes_values', ctx);
  const missing = attrs.ints('nodes_missing_value_tracks_true', []);
  const votes = new Map<string, Vote[]>();
  const [voteTrees, voteNodes, voteTargets] = ['treeids', 'nodeids', 'ids'].map((name) => attrs.ints(`${prefix}_${name}`));
  const weights = numbersAttribute(`${prefix}_weights`, ctx);
  for (const [i, tree] of voteTrees.entries()) {
    const key = `${tree}:${voteNodes[i]}`;
    const list = votes.get(key) ?? [];
    list.push({ target: voteTargets[i], weight: weights[i] });
    votes.set(key, list);
  }
  const nodes = new Map<string, TreeNode>();
  const nothing: Leaf = { kind: 'leaf', votes: [] };
  for (const [i, tree] of trees.entries()) {
    const key = `${tree}:${ids[i]}`;
    const name = names[i].replace(/^BRANCH_/, '');
    const mode = modes.find((known) => known === name);
    if (name !== 'LEAF' && mode === undefined)
      ctx.fail(`mode '${names[i]}'`, 'BRANCH_LEQ, BRANCH_LT, BRANCH_GTE, BRANCH_GT, BRANCH_EQ, BRANCH_NEQ or LEAF');
    nodes.set(
      key,
      mode === undefined
        ? { kind: 'leaf', votes: votes.get(key) ?? [] }
        : branch(mode, featureIds[i], splits[i], missing[i] === 1, nothing),
    );
  }
  const targets = new Set<string>();
  for (const [i, tree] of trees.entries()) {
    const node = nodes.get(`${tree}:${ids[i]}`);
    if (node?.kind !== 'branch') continue;
    const [yesKey, noKey] = [`${tree}:${yes[i]}`, `${tree}:${no[i]}`];
    node.yes = nodes.get(yesKey) ?? ctx.fail(`tree ${tree} has no node ${yes[i]}`);
    node.no = nodes.get(noKey) ?? ctx.fail(`tree ${tree} has no node ${no[i]}`);
    targets.add(yesKey).add(noKey);
  }
  const roots = [...nodes].filter(([key]) => !targets.has(key)).map(([, node]) => node);
  checkAcyclic(roots, nodes.size, ctx);
  return roots;
}

function branch(
  mode: Mode,
  feature: number,
  split: number,
  missingIsTrue: boolean,
  nothing: Leaf,
  members: ReadonlySet<number> = new Set(),
): Branch {
  return { kind: 'branch', mode, feature, split, missingIsTrue, members, yes: nothing, no: nothing };
}

/** A malformed file must not send the walk round in circles: no path is longer than there are nodes. */
function checkAcyclic(roots: readonly TreeNode[], count: number, ctx: OpContext): void {
  const done = new Set<TreeNode>();
  const path = new Set<TreeNode>();
  const stack: { readonly node: TreeNode; readonly leave: boolean }[] = roots.map((node) => ({ node, leave: false }));
  if (roots.length === 0 && count > 0) ctx.fail('the trees have no roots');
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { node, leave } = top;
    if (leave) {
      path.delete(node);
      done.add(node);
    } else if (path.has(node)) ctx.fail('a tree leads back to one of its nodes');
    else if (!done.has(node) && node.kind === 'branch') {
      path.add(node);
      stack.push({ node, leave: true }, { node: node.no, leave: false }, { node: node.yes, leave: false });
    }
  }
}

/** From version 5 on: branches and leaves in lists of their own, linked by position. */
function linkedTrees(ctx: OpContext): TreeNode[] {
  const { attrs } = ctx;
  const kinds = numbersOf(attrs.tensor('nodes_modes'));
  const splits = numbersOf(attrs.tensor('nodes_splits'));
  const missing = attrs.ints('nodes_missing_value_tracks_true', []);
  const featureIds = attrs.ints('nodes_featureids');
  const leaves = leavesOf(ctx);
  const members = memberSets(ctx);
  const nothing: Leaf = { kind: 'leaf', votes: [] };
  const nodes = kinds.map((kind, i) => {
    const mode = modes[kind] ?? ctx.fail(`mode ${kind}`, 'a number from 0 to 6');
    const set = mode === 'MEMBER' ? (members.shift() ?? ctx.fail('there are fewer sets than nodes that test membership')) : undefined;
    return branch(mode, featureIds[i], splits[i], missing[i] === 1, nothing, set);
  });
  const link = (name: 'true' | 'false'): TreeNode[] => {
    const isLeaf = attrs.ints(`nodes_${name}leafs`);
    return attrs
      .ints(`nodes_${name}nodeids`)
      .map((id, i) => (isLeaf[i] === 1 ? leaves[id] : nodes[id]) ?? ctx.fail(`there is no node ${id}`));
  };
  const [yes, no] = [link('true'), link('false')];
  for (const [i, node] of nodes.entries()) [node.yes, node.no] = [yes[i], no[i]];
  const roots = attrs.ints('tree_roots').map((id) => nodes[id] ?? ctx.fail(`there is no node ${id}`));
  checkAcyclic(roots, nodes.length, ctx);
  return roots;
}

function leavesOf(ctx: OpContext): Leaf[] {
  const weights = numbersOf(ctx.attrs.tensor('leaf_weights'));
  return ctx.attrs.ints('leaf_targetids').map((target, i): Leaf => ({ kind: 'leaf', votes: [{ target, weight: weights[i] }] }));
}

/** Members of one set after the other, each closed by NaN. */
function memberSets(ctx: OpContext): Set<number>[] {
  if (!ctx.attrs.has('membership_values')) return [];
  const sets: Set<number>[] = [];
  let current = new Set<number>();
  for (const value of numbersOf(ctx.attrs.tensor('membership_values'))) {
    if (Number.isNaN(value)) {
      sets.push(current);
      current = new Set();
    } else current.add(value);
  }
  if (current.size > 0) sets.push(current);
  return sets;
}

function scoreValue(scores: Float64Array, columns: number, type: ElementType): TensorValue {
  const data = hostArray(type, scores.length) as HostNumbers & { set(from: ArrayLike<number>): void };
  data.set(scores);
  return TensorValue.ofHost(data, type, [scores.length / columns, columns]);
}

function transformed(scores: TensorValue, transform: string, ctx: OpContext): TensorValue {
  return transform === 'NONE' ? scores : computed(scores.type, () => postTransformed(scores.tensor, transform, ctx));
}

function aggregateNamed(name: string, ctx: OpContext): Aggregate {
  return aggregates.find((known) => known === name) ?? ctx.fail(`aggregate_function '${name}'`, aggregates.join(', '));
}

function classifier(x: TensorValue, ctx: OpContext): TensorValue[] {
  const classes = classCount(ctx);
  const votes = new Set(ctx.attrs.ints('class_ids'));
  const base = numbersAttribute('base_values', ctx);
  const transform = ctx.attrs.string('post_transform', 'NONE');
  const single = classes === 2 && votes.size === 1;
  const roots = numberedTrees('class', ctx);
  if (!single) {
    const scores = scoreValue(scoresOf(roots, x, classes, 'SUM', base), classes, 'float32');
    return [labelsOf(largestPlaces(scores), ctx), transformed(scores, transform, ctx)];
  }
  // Two classes, one of which gets all the votes: the other has the rest of the probability, or of the opposite score.
  const voted = [...votes][0];
  const all = scoresOf(roots, x, classes, 'SUM', []);
  const own = Float64Array.from({ length: all.length / 2 }, (_, i) => all[2 * i + voted] + (base[0] ?? 0));
  const arePositive = numbersAttribute('class_weights', ctx).every((weight) => weight >= 0);
  const isProbability = transform === 'NONE' && arePositive;
  const pairs = Float64Array.from({ length: all.length }, (_, i) => {
    const score = own[i >> 1];
    if (i % 2 === 1) return score;
    return isProbability ? 1 - score : -score;
  });
  const threshold = isProbability ? 0.5 : 0;
  const scores = scoreValue(pairs, 2, 'float32');
  const positions = Array.from(own, (score) => Number(score > threshold));
  return [labelsOf(positions, ctx), transformed(scores, transform, ctx)];
}

const transforms = ['NONE', 'SOFTMAX', 'LOGISTIC', 'SOFTMAX_ZERO', 'PROBIT'] as const;

export const treeOps = {
  TreeEnsemble: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const targets = ctx.attrs.int('n_targets');
    const aggregate = aggregates[ctx.attrs.int('aggregate_function', 1)] ?? ctx.fail('aggregate_function', 'a number from 0 to 3');
    const scores = scoreValue(scoresOf(linkedTrees(ctx), x, targets, aggregate, []), targets, x.type);
    return transformed(scores, transforms[ctx.attrs.int('post_transform', 0)] ?? ctx.fail('post_transform', 'a number from 0 to 4'), ctx);
  },
  TreeEnsembleRegressor: (inputs, ctx) => {
    const x = tensorAt(inputs, 0, ctx);
    const targets = ctx.attrs.int('n_targets', 1);
    const aggregate = aggregateNamed(ctx.attrs.string('aggregate_function', 'SUM'), ctx);
    const scores = scoresOf(numberedTrees('target', ctx), x, targets, aggregate, numbersAttribute('base_values', ctx));
    return transformed(scoreValue(scores, targets, 'float32'), ctx.attrs.string('post_transform', 'NONE'), ctx);
  },
  TreeEnsembleClassifier: (inputs, ctx) => classifier(tensorAt(inputs, 0, ctx), ctx),
} satisfies OpTable;
