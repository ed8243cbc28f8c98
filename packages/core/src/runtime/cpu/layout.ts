/**
 * Fixed addresses at the bottom of the CPU heap, shared by the main thread, the workers and the driver module.
 * Words that different threads write live on cache lines of their own.
 */

/** Bytes kept out of the allocator: the control words, thread records and error text below. */
export const reservedBytes = 0x10000;

/** Words the team of a run shares (byte addresses). */
export const control = {
  /** 0: run; 1: leave at the next check (aborted); 2: a thread trapped. */
  stop: 0x400,
  /** Threads that arrived at the current barrier. */
  arrived: 0x440,
  /** Number of barriers passed; sleepers of a barrier wait on it. */
  generation: 0x480,
  /** Threads asleep at a barrier. */
  sleepers: 0x4c0,
  /** Next chunk of the current phase. The last thread to arrive at a barrier sets it to 0. */
  claim: 0x500,
  /** Two decisions of `while`/`branch`, used in turn. */
  decisions: 0x540,
  /** Invited workers that have not left the current run; those that came too late to enter never do. */
  active: 0x580,
  /** 1 while the leader sleeps on `active`. */
  leaderSleeps: 0x5c0,
  /** Grows with every wake-up call; idle workers sleep on it. */
  epoch: 0x600,
  /** Workers asleep on `epoch`. */
  idle: 0x640,
  /** Number of runs the pool finished; `Atomics.waitAsync` listens to it. */
  finished: 0x680,
  /** Number of the current run << 8, 0x80 once closed to latecomers, and how many workers have entered. */
  gate: 0x6c0,
  /**
   * What the workers of a run read: address of the commands, how many workers are invited, and the rank of the first
   * to enter (0: a worker leads; 1: the main thread does).
   */
  commands: 0x700,
  invited: 0x704,
  firstRank: 0x708,
  /** A worker that leads must, at the end, 1: wake the listeners of `finished`; 2: post a message. */
  notify: 0x70c,
  /** Size of the team; 0 until the leader has closed the gate. */
  team: 0x740,
  /** 1 + index of the thread whose error text is stored (0: none), command it was at, length of the text. */
  errorThread: 0x780,
  errorCommand: 0x784,
  errorLength: 0x788,
} as const;

/** UTF-8 text of the first error of a run. */
export const errorText = { address: 0xc000, bytes: 0x2000 } as const;

/** Most threads a device can have (the main thread included). */
export const maxThreads = 64;
const recordsAddress = 0x1000;
const recordBytes = 0x200;

/** Address of a thread's record; thread 0 is the main thread, thread k the pool's worker k - 1. */
export function recordAddress(thread: number): number {
  return recordsAddress + recordBytes * thread;
}

/** Byte offsets in a thread's record. */
export const record = {
  /** Number of the last run that the thread was invited to. */
  ticket: 0,
  /** Number of messages posted to the thread. */
  inbox: 4,
  /** Sequence number of the last message it has dealt with. */
  loaded: 8,
  /** 0: starting; 1: serving; 2: broken. */
  state: 12,
  /** Address of the command the thread is at. */
  command: 16,
  /** Address of its area for computed kernel arguments. */
  args: 20,
  /** Address of its kernel scratch memory. */
  scratch: 24,
  /** Indices of the enclosing `repeat` steps, outermost first. */
  counters: 64,
} as const;

/** How deep `repeat` steps may nest. */
export const maxLoopDepth = (recordBytes - record.counters) / 4;

/** Commands of the driver. Each is a run of 32-bit words that starts with its code; see `program.ts` for the operands. */
export const commandCode = {
  end: 0,
  /** args, entries, chunks, then per entry: function, grid, chunk, number of the first chunk after it. The team shares it. */
  phase: 1,
  /** The same operands; the thread that meets it does all of it. */
  solo: 2,
  barrier: 3,
  /** target: every thread but the leader jumps. */
  leader: 4,
  /** level: sets the counter to 0. */
  repeat: 5,
  /** level, count, target: adds 1 to the counter and jumps while it is below count. */
  again: 6,
  /** args, target: the leader reads the condition, the team agrees on it and jumps when it is false. */
  decide: 7,
  /** args, target: the same for one thread. */
  test: 8,
  /** target */
  jump: 9,
  /** source, arguments, levels, then per argument and level a stride: fills the thread's argument area. */
  args: 10,
} as const;
