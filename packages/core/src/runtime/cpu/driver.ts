/**
 * The driver: a small WebAssembly module that every thread runs. It walks a program's commands (see `program.ts`)
 * and calls kernels through the thread's function table.
 *
 * A team's threads walk the same commands. They share a phase by claiming chunks of cells from one counter, and meet
 * at barriers; whoever arrives last resets that counter. Any thread that sees the stop word leaves; whoever sets it
 * also moves the barrier's generation on, so that no sleeper misses it.
 */
import { type FunctionBuilder, type Label, ModuleBuilder, type WasmLocal } from '../../codegen/wasm/asm.js';
import { commandCode, control, record } from './layout.js';

export interface DriverOptions {
  readonly shared: boolean;
  /** Maximum of the memory in pages. */
  readonly maxPages: number;
}

/** What the driver exports. The functions after `walkSolo` exist for shared memories only. */
export interface DriverExports {
  /**
   * Walks the commands at `pc` on this thread alone, at most `budget` kernel phases of them. Returns the address to
   * go on from, or 0 at the end.
   */
  walkSolo(pc: number, record: number, budget: number): number;
  /** Walks the commands as one of a team; rank 0 leads. */
  walkTeam(pc: number, record: number, rank: number, maySleep: number): void;
  /** Returns when the record's ticket or inbox differ from the given ones. Spins, then sleeps. */
  idle(record: number, ticket: number, inbox: number, spins: number): void;
  /** An invited worker's rank in the run of this number, or -1 if it is too late. */
  enter(run: number): number;
  /** A worker that entered leaves; 1 if it led the run and must post a message that it is over. */
  retire(rank: number): number;
  /** The leader closes the run to latecomers and returns when all others that entered have left. */
  join(maySleep: number): void;
}

/** Rounds of the barrier's loop before a thread sleeps: about 50 microseconds. */
const barrierSpins = 40_000;
/** Rounds the leader waits for the last workers before it sleeps: about 50 microseconds. */
const joinSpins = 50_000;
const everyone = -1;

/** Bytes of the driver module. It imports `env.memory` and `env.table`. */
export function emitDriver(options: DriverOptions): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory({ min: 1, max: options.maxPages, shared: options.shared });
  module.importTable(0);
  const kernelType = module.type(['i32', 'i32', 'i32', 'i32'], []);
  emitWalk(module, kernelType, options.shared, null);
  if (options.shared) {
    const close = emitClose(module);
    const barrier = emitBarrier(module, close);
    emitWalk(module, kernelType, true, barrier);
    emitIdle(module);
    emitEnter(module);
    emitRetire(module);
    emitJoin(module, close);
  }
  return module.finish();
}

/** `() -> workers`: no worker enters any more; how many have. Gives the team its size. */
function emitClose(module: ModuleBuilder): number {
  const f = module.function([], ['i32']);
  const gate = f.local('i32');
  f.i32(control.gate).i32(0x80).mem('i32.atomic.rmw.or').i32(0x7f).op('i32.and').set(gate);
  f.i32(control.team).get(gate).i32(control.firstRank).mem('i32.load').op('i32.add').mem('i32.atomic.store');
  f.get(gate);
  return f.index;
}

/** `(rank, maySleep) -> stop` */
function emitBarrier(module: ModuleBuilder, close: number): number {
  const f = module.function(['i32', 'i32'], ['i32']);
  const [rank, maySleep] = f.params as [WasmLocal, WasmLocal];
  const generation = f.local('i32');
  const spins = f.local('i32');
  f.i32(control.generation).mem('i32.atomic.load').set(generation);
  // The team may have no size yet: then its leader, who must pass here too, gives it one before it counts itself.
  f.get(rank).i32(control.team).mem('i32.atomic.load').op('i32.or').op('i32.eqz');
  f.if();
  f.call(close).op('drop');
  f.end();
  f.i32(control.arrived).i32(1).mem('i32.atomic.rmw.add').i32(1).op('i32.add');
  f.i32(control.team).mem('i32.atomic.load').op('i32.eq');
  f.if();
  f.i32(control.arrived).i32(0).mem('i32.atomic.store');
  f.i32(control.claim).i32(0).mem('i32.atomic.store');
  f.i32(control.generation).i32(1).mem('i32.atomic.rmw.add').op('drop');
  f.i32(control.sleepers).mem('i32.atomic.load');
  f.if();
  f.i32(control.generation).i32(everyone).mem('memory.atomic.notify').op('drop');
  f.end();
  f.i32(control.stop).mem('i32.atomic.load').return();
  f.end();
  const again = f.loop();
  f.i32(control.generation).mem('i32.atomic.load').get(generation).op('i32.ne');
  f.if();
  f.i32(control.stop).mem('i32.atomic.load').return();
  f.end();
  f.i32(control.stop).mem('i32.atomic.load');
  f.if();
  f.i32(1).return();
  f.end();
  f.get(spins).i32(1).op('i32.add').tee(spins).i32(barrierSpins).op('i32.lt_u').brIf(again);
  f.get(maySleep);
  f.if();
  sleep(f, control.sleepers, () => f.i32(control.generation), generation);
  f.end();
  f.br(again);
  f.end();
  f.op('unreachable');
  return f.index;
}

/** Sleeps while the word holds `value`, counted in `counter` so that nobody makes wake-up calls in vain. */
function sleep(f: FunctionBuilder, counter: number, word: () => void, value: WasmLocal): void {
  f.i32(counter).i32(1).mem('i32.atomic.rmw.add').op('drop');
  word();
  f.get(value).i64(-1n).mem('memory.atomic.wait32').op('drop');
  f.i32(counter).i32(1).mem('i32.atomic.rmw.sub').op('drop');
}

function emitIdle(module: ModuleBuilder): void {
  const f = module.function(['i32', 'i32', 'i32', 'i32'], [], 'idle');
  const [own, ticket, inbox, spins] = f.params as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
  const epoch = f.local('i32');
  const left = f.local('i32');
  const called = (): void => {
    f.get(own).mem('i32.atomic.load', record.ticket).get(ticket).op('i32.ne');
    f.get(own).mem('i32.atomic.load', record.inbox).get(inbox).op('i32.ne').op('i32.or');
    f.if();
    f.return();
    f.end();
  };
  f.get(spins).set(left);
  const again = f.loop();
  called();
  f.get(left);
  f.if();
  f.get(left).i32(1).op('i32.sub').set(left);
  f.br(again);
  f.end();
  f.i32(control.epoch).mem('i32.atomic.load').set(epoch);
  called();
  sleep(f, control.idle, () => f.i32(control.epoch), epoch);
  // Woken without a ticket, it is about to get one: it spins again.
  f.get(spins).set(left);
  f.br(again);
  f.end();
}

function emitEnter(module: ModuleBuilder): void {
  const f = module.function(['i32'], ['i32'], 'enter');
  const [run] = f.params as [WasmLocal];
  const gate = f.local('i32');
  const again = f.loop();
  f.i32(control.gate).mem('i32.atomic.load').tee(gate);
  f.i32(8).op('i32.shr_u').get(run).op('i32.ne');
  f.get(gate).i32(0x80).op('i32.and').op('i32.or');
  f.if();
  f.i32(-1).return();
  f.end();
  f.i32(control.gate).get(gate).get(gate).i32(1).op('i32.add').mem('i32.atomic.rmw.cmpxchg').get(gate).op('i32.ne').brIf(again);
  f.end();
  f.get(gate).i32(0x7f).op('i32.and').i32(control.firstRank).mem('i32.atomic.load').op('i32.add');
}

function emitRetire(module: ModuleBuilder): void {
  const f = module.function(['i32'], ['i32'], 'retire');
  const [rank] = f.params as [WasmLocal];
  f.get(rank).op('i32.eqz');
  f.if();
  // The others have left: the run's words are this thread's own until it reports the end.
  const notify = f.local('i32');
  f.i32(control.notify).mem('i32.load').set(notify);
  f.i32(control.finished).i32(1).mem('i32.atomic.rmw.add').op('drop');
  f.i32(control.finished).i32(everyone).mem('memory.atomic.notify').op('drop');
  f.get(notify).i32(2).op('i32.eq').return();
  f.end();
  f.i32(control.active).i32(1).mem('i32.atomic.rmw.sub').op('drop');
  f.i32(control.leaderSleeps).mem('i32.atomic.load');
  f.if();
  f.i32(control.active).i32(everyone).mem('memory.atomic.notify').op('drop');
  f.end();
  f.i32(0);
}

function emitJoin(module: ModuleBuilder, close: number): void {
  const f = module.function(['i32'], [], 'join');
  const [maySleep] = f.params as [WasmLocal];
  const active = f.local('i32');
  const late = f.local('i32');
  const spins = f.local('i32');
  // What stays of the invited: latecomers, and the leader if it is one of them.
  f.i32(control.invited).mem('i32.load').call(close).op('i32.sub');
  f.i32(1).i32(control.firstRank).mem('i32.load').op('i32.sub').op('i32.add').set(late);
  const again = f.loop();
  f.i32(control.active).mem('i32.atomic.load').tee(active).get(late).op('i32.eq');
  f.if();
  f.return();
  f.end();
  f.get(spins).i32(1).op('i32.add').tee(spins).i32(joinSpins).op('i32.lt_u').brIf(again);
  f.get(maySleep);
  f.if();
  sleep(f, control.leaderSleeps, () => f.i32(control.active), active);
  f.end();
  f.br(again);
  f.end();
}

/** Emits `walkSolo` (no barrier given) or `walkTeam`. */
function emitWalk(module: ModuleBuilder, kernelType: number, shared: boolean, barrier: number | null): void {
  const team = barrier !== null;
  const f = team
    ? module.function(['i32', 'i32', 'i32', 'i32'], [], 'walkTeam')
    : module.function(['i32', 'i32', 'i32'], ['i32'], 'walkSolo');
  const [pc, own, rankOrBudget, maySleep] = f.params as [WasmLocal, WasmLocal, WasmLocal, WasmLocal];
  const args = f.local('i32');
  const entry = f.local('i32');
  const last = f.local('i32');
  const begin = f.local('i32');
  const limit = f.local('i32');
  const a = f.local('i32');
  const b = f.local('i32');
  const parity = f.local('i32');

  const word = (offset: number): FunctionBuilder => f.get(pc).mem('i32.load', offset);
  const leave = (): void => {
    if (!team) f.i32(0);
    f.return();
  };
  const leaveIf = (): void => {
    f.if();
    leave();
    f.end();
  };
  const leaveIfStopped = (): void => {
    if (!shared) return;
    f.i32(control.stop).mem('i32.atomic.load');
    leaveIf();
  };
  const advance = (bytes: number): void => {
    f.get(pc).i32(bytes).op('i32.add').set(pc);
  };
  const meet = (): void => {
    if (barrier === null) return;
    f.get(rankOrBudget).get(maySleep).call(barrier);
    leaveIf();
  };
  /** Pushes the address of the arguments that operand 1 names; 0 means the thread's own area. */
  const argsOperand = (): void => {
    word(4).tee(a).get(own).mem('i32.load', record.args).get(a).op('select');
  };
  /** Pushes 1 when the condition of the command at pc is false. */
  const conditionIsFalse = (): void => {
    argsOperand();
    f.mem('i32.load').mem('i32.load8_u').op('i32.eqz');
  };
  const enterPhase = (): void => {
    f.get(own).get(pc).mem('i32.store', record.command);
    leaveIfStopped();
    argsOperand();
    f.set(args);
    f.get(pc).i32(16).op('i32.add').set(entry);
    f.get(entry).get(pc).mem('i32.load', 8).i32(4).op('i32.shl').op('i32.add').set(last);
  };
  /** Calls the function at `entry` for cells [begin, limit). */
  const callEntry = (): void => {
    f.get(begin).get(limit).get(args).get(own).mem('i32.load', record.scratch).get(entry).mem('i32.load').callIndirect(kernelType);
  };
  /** `limit = min(begin + chunk, grid)` */
  const nextLimit = (): void => {
    f.get(begin).get(entry).mem('i32.load', 8).op('i32.add').tee(limit);
    f.get(entry).mem('i32.load', 4).tee(a);
    f.get(limit).get(a).op('i32.lt_u').op('select').set(limit);
  };
  /** Does all cells of all entries, chunk by chunk: V8 swaps in optimized code between calls only. */
  const doAll = (): void => {
    const entries = f.loop();
    f.i32(0).set(begin);
    const chunks = f.loop();
    nextLimit();
    callEntry();
    f.get(limit).tee(begin).get(entry).mem('i32.load', 4).op('i32.lt_u').brIf(chunks);
    f.end();
    f.get(entry).i32(16).op('i32.add').tee(entry).get(last).op('i32.lt_u').brIf(entries);
    f.end();
    f.get(last).set(pc);
  };
  const shareAll = (): void => {
    f.i32(0).set(b);
    const done = f.block();
    const claims = f.loop();
    f.i32(control.claim).i32(1).mem('i32.atomic.rmw.add').tee(begin);
    word(12).op('i32.ge_u').brIf(done);
    // Chunk numbers grow over the entries; this thread's claims only grow too. b: number of the entry's first chunk.
    const found = f.block();
    const search = f.loop();
    f.get(begin).get(entry).mem('i32.load', 12).tee(a).op('i32.lt_u').brIf(found);
    f.get(a).set(b);
    f.get(entry).i32(16).op('i32.add').set(entry);
    f.br(search);
    f.end();
    f.end();
    f.get(begin).get(b).op('i32.sub').get(entry).mem('i32.load', 8).op('i32.mul').set(begin);
    nextLimit();
    callEntry();
    leaveIfStopped();
    f.br(claims);
    f.end();
    f.end();
    f.get(last).set(pc);
  };
  /** `a` = address of the loop counter that operand 1 names. */
  const counterAddress = (): void => {
    f.get(own).get(pc).mem('i32.load', 4).i32(2).op('i32.shl').op('i32.add').set(a);
  };

  const next = f.loop();
  const cases = Object.values(commandCode).map(() => null as Label | null);
  for (let code = cases.length - 1; code >= 0; code--) cases[code] = f.block();
  const labels = cases as Label[];
  word(0).brTable(labels, labels[0] as Label);
  const bodies: Readonly<Record<keyof typeof commandCode, () => void>> = {
    end: leave,
    phase: () => {
      if (!team) spendBudget();
      enterPhase();
      if (team) shareAll();
      else doAll();
    },
    solo: () => {
      if (!team) spendBudget();
      enterPhase();
      doAll();
    },
    barrier: () => {
      meet();
      advance(4);
    },
    leader: () => {
      if (team) {
        f.get(rankOrBudget);
        f.if();
        word(4).set(pc);
        f.br(next);
        f.end();
      }
      advance(8);
    },
    repeat: () => {
      counterAddress();
      f.get(a).i32(0).mem('i32.store', record.counters);
      advance(8);
    },
    again: () => {
      counterAddress();
      f.get(a).get(a).mem('i32.load', record.counters).i32(1).op('i32.add').tee(b).mem('i32.store', record.counters);
      f.get(pc).mem('i32.load', 12).get(pc).i32(16).op('i32.add').get(b).get(pc).mem('i32.load', 8).op('i32.lt_u').op('select').set(pc);
    },
    decide: () => {
      if (!team) return jumpIfFalse(conditionIsFalse);
      // The leader's reading counts. The two words alternate: nobody is two decisions behind.
      f.get(rankOrBudget).op('i32.eqz');
      f.if();
      f.get(parity).i32(2).op('i32.shl');
      conditionIsFalse();
      f.mem('i32.atomic.store', control.decisions);
      f.end();
      meet();
      jumpIfFalse(() => {
        f.get(parity).i32(2).op('i32.shl').mem('i32.atomic.load', control.decisions);
        f.get(parity).i32(1).op('i32.xor').set(parity);
      });
    },
    test: () => jumpIfFalse(conditionIsFalse),
    jump: () => {
      word(4).set(pc);
    },
    args: () => computeArgs(),
  };
  for (const name of Object.keys(commandCode) as (keyof typeof commandCode)[]) {
    f.end();
    bodies[name]();
    if (name !== 'end') f.br(next);
  }
  f.end();
  f.op('unreachable');

  function spendBudget(): void {
    f.get(rankOrBudget).op('i32.eqz');
    f.if();
    f.get(pc).return();
    f.end();
    f.get(rankOrBudget).i32(1).op('i32.sub').set(rankOrBudget);
  }
  function jumpIfFalse(condition: () => void): void {
    f.get(pc).mem('i32.load', 8).get(pc).i32(12).op('i32.add');
    condition();
    f.op('select').set(pc);
  }
  /** For each argument: its base plus, for each level, counter times stride. */
  function computeArgs(): void {
    const out = f.local('i32');
    const stride = f.local('i32');
    const sum = f.local('i32');
    f.get(own).mem('i32.load', record.args).set(out);
    word(4).tee(a).get(pc).mem('i32.load', 8).i32(2).op('i32.shl').op('i32.add').set(last);
    f.get(pc).i32(16).op('i32.add').set(stride);
    const each = f.loop();
    f.get(a).mem('i32.load').set(sum);
    f.get(own).set(b);
    f.get(own).get(pc).mem('i32.load', 12).i32(2).op('i32.shl').op('i32.add').set(limit);
    const levels = f.loop();
    f.get(b).mem('i32.load', record.counters).get(stride).mem('i32.load').op('i32.mul').get(sum).op('i32.add').set(sum);
    f.get(stride).i32(4).op('i32.add').set(stride);
    f.get(b).i32(4).op('i32.add').tee(b).get(limit).op('i32.lt_u').brIf(levels);
    f.end();
    f.get(out).get(sum).mem('i32.store');
    f.get(out).i32(4).op('i32.add').set(out);
    f.get(a).i32(4).op('i32.add').tee(a).get(last).op('i32.lt_u').brIf(each);
    f.end();
    f.get(stride).set(pc);
  }
}
